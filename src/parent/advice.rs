//! What is said of a program that does not become a worker.

use std::io;
use std::sync::Arc;

use crate::error::{StartError, WorkerDeath};
use crate::parent::program::Program;
use crate::sys::process::{Carrier, carrier};
use crate::wire::role::Flag;

impl Program {
    pub(crate) fn name(&self) -> String {
        name(self, carrier())
    }

    /// What to say if no process could be made of it.
    pub(super) fn failed(&self, error: io::Error) -> StartError {
        StartError::Spawn {
            program: self.name(),
            error: Arc::new(error),
            hint: remark(self, carrier()),
        }
    }

    /// What there is to be known of it if it could not be started.
    pub(crate) fn remark(&self) -> String {
        remark(self, carrier())
    }

    /// What to look at if a process says nothing.
    pub(crate) fn hint(&self) -> String {
        hint(self, carrier())
    }

    /// What to look at if a process ended before its hello.
    pub(super) fn advice(&self, death: &WorkerDeath) -> String {
        advice(self, death, carrier())
    }
}

fn name(program: &Program, carrier: Option<&Carrier>) -> String {
    let first = || std::env::args_os().next().unwrap_or_default();
    let own = || match carrier {
        Some(Carrier { program, is_library: true, .. }) => program.into(),
        Some(Carrier { code, .. }) => code.into(),
        None => std::env::current_exe().map_or_else(|_| first(), Into::into),
    };
    let named = program.command.as_ref().and_then(|command| command.first().cloned());
    named.unwrap_or_else(own).to_string_lossy().into_owned()
}

/// That this process is not simply a run of its own program.
fn remark(program: &Program, carrier: Option<&Carrier>) -> String {
    let Some(Carrier { program, code, is_library }) = carrier.filter(|_| program.command.is_none())
    else {
        return String::new();
    };
    let (program, code) = (program.display(), code.display());
    if *is_library {
        format!(
            "; procpool is in the library `{code}`, which `{program}` has loaded, and `{program}` \
             was started as the worker: have it load the library and call \
             `procpool::worker_main()`, by `.worker_command([\"{program}\", \"worker script\"])` of \
             the pool's builder; `procpool::guide::embedding` has examples"
        )
    } else {
        format!(
            "; this program, `{code}`, is run by `{program}`; if its workers cannot do without, \
             name both: `.worker_command([\"{program}\", \"{code}\"])`"
        )
    }
}

fn hint(program: &Program, carrier: Option<&Carrier>) -> String {
    if program.command.is_some() {
        return "; it was started by `worker_command`: does it call `procpool::worker_main()`?"
            .to_owned();
    }
    let remark = remark(program, carrier);
    if carrier.is_some_and(|carrier| carrier.is_library) {
        return remark; // its `main` is not to blame
    }
    format!(
        "; it did not get as far as `procpool::init()`: make that the first statement of `main`, \
         and put `procpool::test_support!();` into test binaries{remark}"
    )
}

fn advice(program: &Program, death: &WorkerDeath, carrier: Option<&Carrier>) -> String {
    let has_failed = death.exit_code() != Some(0);
    let output = death.stderr_tail();
    match program.command {
        // It has its reason, and gives that.
        Some(_) if has_failed && !output.is_empty() && !output.contains(Flag::PREFIX) => {
            String::new()
        }
        None if has_failed && carrier.is_none() => format!(
            "{}; if `{}` is not your program, but what runs it, such as an interpreter or a loader, \
             name yours by `worker_command`",
            hint(program, carrier),
            name(program, carrier)
        ),
        _ => hint(program, carrier),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use crate::base::{ResourceLimits, WorkerId};
    use crate::error::{DeathReport, PoolProcess};
    use crate::parent::launch::Launch;
    use crate::sys::process::Exit;

    use super::*;

    /// What a pool says of a worker that has exited without a hello.
    fn said(program: Program, code: i32, stderr_tail: &str) -> String {
        let death = WorkerDeath::new(DeathReport {
            process: PoolProcess::Worker(7),
            worker: WorkerId(1),
            exit: Exit { code: Some(code), signal: None },
            stderr_tail: stderr_tail.to_owned(),
            task_output: None,
            limits: ResourceLimits::new(),
            task_limits: None,
            host: None,
            remark: None,
        });
        let launch = Launch { program, ..Launch::default() };
        launch.died(death, true).to_string()
    }

    #[test]
    fn a_program_that_does_not_know_the_option_may_be_one_that_runs_others() {
        let own = Program::default().name();
        let refused = "unknown option --procpool-worker=0.1.0-0\nusage: python [option] ...\n";
        assert_eq!(
            said(Program::default(), 2, refused),
            format!(
                "worker 1 (pid 7) exited unexpectedly with code 2; \
                 it did not get as far as `procpool::init()`: make that the first statement of \
                 `main`, and put `procpool::test_support!();` into test binaries; if `{own}` is \
                 not your program, but what runs it, such as an interpreter or a loader, name yours \
                 by `worker_command`; its last output was: \
                 unknown option --procpool-worker=0.1.0-0\\nusage: python [option] ..."
            )
        );
        // One that ends well is a program, which went its own way.
        assert_eq!(
            said(Program::default(), 0, "all done"),
            "worker 1 (pid 7) exited unexpectedly with code 0; \
             it did not get as far as `procpool::init()`: make that the first statement of `main`, \
             and put `procpool::test_support!();` into test binaries; \
             its last output was: all done"
        );
    }

    #[test]
    fn a_worker_program_that_gives_a_reason_gets_no_advice() {
        let program = || Program::named(OsStr::new("python"));
        let import = "Traceback (most recent call last):\nImportError: no module named numpy\n";
        assert_eq!(
            said(program(), 1, import),
            "worker 1 (pid 7) exited unexpectedly with code 1; its last output was: \
             Traceback (most recent call last):\\nImportError: no module named numpy"
        );
        let advice =
            "; it was started by `worker_command`: does it call `procpool::worker_main()`?";
        let failed = "worker 1 (pid 7) exited unexpectedly with code";
        assert_eq!(said(program(), 1, ""), format!("{failed} 1{advice}"));
        assert_eq!(
            said(program(), 2, "unknown option --procpool-worker"),
            format!("{failed} 2{advice}; its last output was: unknown option --procpool-worker")
        );
        assert_eq!(
            said(program(), 0, "hi"),
            format!("{failed} 0{advice}; its last output was: hi")
        );
    }

    fn refused() -> WorkerDeath {
        WorkerDeath::new(DeathReport {
            process: PoolProcess::Worker(7),
            worker: WorkerId(1),
            exit: Exit { code: Some(9), signal: None },
            stderr_tail: "node: bad option: --procpool-worker=0.1.0-0".to_owned(),
            task_output: None,
            limits: ResourceLimits::new(),
            task_limits: None,
            host: None,
            remark: None,
        })
    }

    #[test]
    fn a_library_says_who_has_loaded_it_and_blames_no_main() {
        let carrier = Carrier {
            program: "/usr/bin/node".into(),
            code: "/lib/addon.node".into(),
            is_library: true,
        };
        let program = Program::default();
        let text = advice(&program, &refused(), Some(&carrier));
        assert_eq!(
            text,
            "; procpool is in the library `/lib/addon.node`, which `/usr/bin/node` has loaded, and \
             `/usr/bin/node` was started as the worker: have it load the library and call \
             `procpool::worker_main()`, by `.worker_command([\"/usr/bin/node\", \"worker script\"])` \
             of the pool's builder; `procpool::guide::embedding` has examples"
        );
        assert_eq!(hint(&program, Some(&carrier)), text);
        assert_eq!(remark(&program, Some(&carrier)), text);
        assert_eq!(name(&program, Some(&carrier)), "/usr/bin/node");
        // Whoever has named a program knows which one it is.
        let named = Program::named(OsStr::new("node"));
        assert_eq!(remark(&named, Some(&carrier)), "");
        let text = advice(&named, &refused(), Some(&carrier));
        assert!(text.ends_with("does it call `procpool::worker_main()`?"), "{text}");
    }

    #[test]
    fn a_program_says_what_runs_it() {
        let carrier = Carrier {
            program: "/usr/bin/qemu-aarch64".into(),
            code: "/bin/prog".into(),
            is_library: false,
        };
        let text = advice(&Program::default(), &refused(), Some(&carrier));
        let remark = "; this program, `/bin/prog`, is run by `/usr/bin/qemu-aarch64`; if its \
            workers cannot do without, name both: \
            `.worker_command([\"/usr/bin/qemu-aarch64\", \"/bin/prog\"])`";
        assert!(text.contains("make that the first statement of `main`"), "{text}");
        assert!(text.ends_with(remark), "{text}");
        assert_eq!(name(&Program::default(), Some(&carrier)), "/bin/prog");
    }
}
