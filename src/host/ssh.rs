//! How OpenSSH reaches a host, and how this program gets there.
//!
//! The remote shell, which may be any, is told to run [`SCRIPT`] with `sh`. If the program is not
//! in the cache of the host the script asks for it, and has it sent over the connection that the
//! agent is about to use:
//!
//! ```text
//! service ── ssh ── sh: is ~/.cache/procpool/HASH there? ── yes ──────────────▶ exec: the agent
//!                    └ no: "procpool-needs Linux x86_64" ◀── so many bytes ──┘
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::process::Command;

use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use crate::host::build::own_file;
use crate::parent::birth::own_arguments;
use crate::sys::thread::start_thread;
use crate::wire::host::Build;

/// What the script prints in front of what the host is, in a line of its own.
pub(super) const NEEDS: &str = "procpool-needs ";
/// So much of the program is read at once.
const CHUNK: usize = 1 << 18;

/// Its arguments: the directory of the cache, or nothing for that of the user; the name of the file
/// there; how many bytes it has; and what the program is started with. It has no single quotes and
/// no line ends, so that it can be quoted for any shell.
///
/// One of another length is taken for what a full disk has left. The file is renamed when it is
/// whole, so nobody starts a part of it, and two services that send it at the same time do no harm.
/// Of the programs in the cache the eight that were used last stay.
const SCRIPT: &str = concat!(
    r#"u=$(umask); umask 077; d=${1:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/procpool}; "#,
    r#"f=$d/$2; n=$3; shift 3; mkdir -p "$d" || exit 73; "#,
    r#"[ -O "$d" ] || { echo "$d belongs to another user" >&2; exit 77; }; chmod 700 "$d"; "#,
    r#"if [ ! -x "$f" ] || [ "$(wc -c <"$f")" -ne "$n" ]; then t=$f.$(uname -n).$$; "#,
    r#"echo; echo "procpool-needs $(uname -sm)"; "#,
    r#"if head -c "$n" >"$t" && [ "$(wc -c <"$t")" -eq "$n" ] && chmod 700 "$t" && "#,
    r#"mv -f "$t" "$f"; "#,
    r#"then ls -t "$d" | grep -E "^[0-9a-f]{32}" | tail -n +9 | "#,
    r#"while read -r o; do rm -f "$d/$o"; done; "#,
    r#"else rm -f "$t"; echo "the program cannot be kept in $d" >&2; exit 74; fi; fi; "#,
    r#"touch "$f" 2>/dev/null; umask "$u"; exec "$f" "$@""#,
);

/// A host by the name that `ssh` knows.
#[derive(Clone, Debug)]
pub(crate) struct Ssh {
    pub(super) destination: OsString,
    pub(super) options: Vec<OsString>,
    /// What is started there; `None` for a copy of this program.
    pub(super) program: Option<Vec<OsString>>,
    /// Where copies are.
    pub(super) cache: Option<OsString>,
}

/// This program, as it is to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnCopy {
    length: u64,
}

impl Ssh {
    /// The command, which ends with the agent's argument, and the copy that the host may want.
    pub(super) fn command(
        &self,
        build: Build,
        role: &str,
    ) -> io::Result<(Command, Option<OwnCopy>)> {
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes"]).args(&self.options);
        command.arg("--").arg(&self.destination);
        if let Some(program) = &self.program {
            let words = program.iter().map(OsString::as_os_str).chain([OsStr::new(role)]);
            command.arg(in_shell([OsStr::new("exec")].into_iter(), words));
            return Ok((command, None));
        }
        let hash = build.0.ok_or_else(|| {
            io::Error::other("the file of this program cannot be read: name one on the host")
        })?;
        let copy = OwnCopy { length: own_file()?.metadata()?.len() };
        let mut words = vec![OsString::from(SCRIPT), "sh".into()];
        words.push(self.cache.clone().unwrap_or_default());
        words.extend([format!("{hash:032x}").into(), copy.length.to_string().into()]);
        words.extend(own_arguments().into_iter().map(OsString::from));
        words.push(role.into());
        let before = ["exec", "sh", "-c"].map(OsStr::new).into_iter();
        command.arg(in_shell(before, words.iter().map(OsString::as_os_str)));
        Ok((command, Some(copy)))
    }
}

/// Words for a shell on the other side, of which only the later ones need quotes.
fn in_shell<'a>(
    before: impl Iterator<Item = &'a OsStr>,
    words: impl Iterator<Item = &'a OsStr>,
) -> OsString {
    let mut text = OsString::new();
    for word in before {
        text.push(word);
        text.push(" ");
    }
    for word in words {
        text.push(quoted(&word.to_string_lossy()));
        text.push(" ");
    }
    text
}

/// As one word, for every shell that knows single and double quotes.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

impl OwnCopy {
    /// Sends it to a host that is what `system` says. An error is for people to read.
    pub(super) async fn send(self, system: &str, output: &mut ChildStdin) -> Result<(), String> {
        let own = own_system();
        if system != own {
            return Err(format!(
                "the host is {system}, and this program is for {own}: name one on the host by \
                 `Host::program`"
            ));
        }
        let file = own_file().map_err(|error| error.to_string())?;
        let (read, mut chunks) = mpsc::channel(2);
        let reading = move || read_all(file, &read);
        start_thread("procpool-reader", None, reading).map_err(|error| error.to_string())?;
        let mut left = self.length;
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.map_err(|error| format!("this program cannot be read: {error}"))?;
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            // The launcher's exit says more.
            output.write_all(&chunk[..count]).await.map_err(|_| String::new())?;
            left -= count as u64;
        }
        if left > 0 {
            return Err("the file of this program has become shorter".to_owned());
        }
        output.flush().await.map_err(|_| String::new())
    }
}

/// By a thread that may block.
fn read_all(mut file: File, chunks: &mpsc::Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        match Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut chunk) {
            Ok(0) => return,
            read => {
                let is_over = read.is_err();
                if chunks.blocking_send(read.map(|_| chunk)).is_err() || is_over {
                    return;
                }
            }
        }
    }
}

/// As `uname -sm` says it.
fn own_system() -> String {
    let system = match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "freebsd" => "FreeBSD",
        other => other,
    };
    let machine = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("macos" | "freebsd", "aarch64") => "arm64",
        ("freebsd", "x86_64") => "amd64",
        (_, machine) => machine,
    };
    format!("{system} {machine}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_can_be_quoted_for_any_shell() {
        assert!(!SCRIPT.contains(['\'', '\n']));
        assert!(!SCRIPT.replace("[ ! -x", "").contains('!'), "csh takes it for history");
    }

    #[test]
    fn words_arrive_as_they_were_whatever_is_in_them() {
        let words = ["plain", "two words", "it's", "", "$HOME \"quoted\" \\ `no`"];
        let text = in_shell(
            [OsStr::new("printf"), OsStr::new("%s,")].into_iter(),
            words.iter().map(OsStr::new),
        );
        let printed = Command::new("sh").arg("-c").arg(text).output().unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), words.join(",") + ",");
    }

    #[test]
    fn this_system_is_called_as_it_calls_itself() {
        let own = Command::new("uname").arg("-sm").output().unwrap();
        assert_eq!(String::from_utf8(own.stdout).unwrap().trim(), own_system());
    }
}
