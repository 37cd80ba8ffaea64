//! Signals: their numbers and their names.

use std::borrow::Cow;

/// The signals by which the system ends a process at a limit, and one by which that ends itself.
pub(crate) use libc::{SIGABRT, SIGXCPU, SIGXFSZ};

use super::kernel::{OWN_SIGNALS, real_time_signals};

/// What `kill -l` calls a signal.
pub(crate) fn signal_name(signal: i32) -> Option<Cow<'static, str>> {
    let known = COMMON.iter().chain(OWN_SIGNALS).find(|(known, _)| *known == signal);
    if let Some((_, name)) = known {
        return Some(Cow::Borrowed(name));
    }
    let real_time = real_time_signals();
    let number = real_time.contains(&signal).then(|| signal - real_time.start())?;
    Some(if number == 0 { "SIGRTMIN".into() } else { format!("SIGRTMIN+{number}").into() })
}

/// What is to be added where somebody reads of an end by this signal; most often nothing.
pub(crate) fn signal_hint(signal: i32) -> &'static str {
    match signal {
        libc::SIGSYS => {
            "; a seccomp filter ends a process so for a system call that it does not allow \
             (SECURITY.md has those that a worker needs)"
        }
        _ => "",
    }
}

macro_rules! named {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

/// Those that all systems have.
const COMMON: &[(i32, &str)] = named! {
    SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2
    SIGPIPE SIGALRM SIGTERM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ
    SIGVTALRM SIGPROF SIGWINCH SIGIO SIGSYS
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(9).as_deref(), Some("SIGKILL"));
        assert_eq!(signal_name(1).as_deref(), Some("SIGHUP"));
        assert_eq!((signal_name(0), signal_name(-9)), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn each_signal_of_linux_has_the_name_that_a_shell_gives_it() {
        let list = std::process::Command::new("bash").args(["-c", "kill -l"]).output();
        let Ok(list) = list else { return eprintln!("skipped: there is no bash") };
        let list = String::from_utf8(list.stdout).unwrap();
        let words: Vec<_> = list.split_whitespace().collect();
        let mut count = 0;
        for pair in words.chunks(2) {
            let number = pair[0].trim_end_matches(')').parse().unwrap();
            let name = signal_name(number).unwrap();
            // The upper half of the real-time signals is counted from the end there.
            assert!(*name == *pair[1] || pair[1].starts_with("SIGRTMAX"), "{name}, {}", pair[1]);
            count += 1;
        }
        assert!(count >= 60, "{list}");
    }
}
