//! How this program gets to another host: over the connection that the agent is about to use.
//!
//! What reaches the host runs [`SCRIPT`] there. If the program is not in the cache of the host, the
//! script asks for it:
//!
//! ```text
//! service ── ssh, srun ── sh: is ~/.cache/procpool/HASH there? ── yes ──────────▶ exec: the agent
//!                          └ no: "procpool-needs Linux x86_64" ◀── so many bytes ──┘
//! ```

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};

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

/// What is started on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FarProgram {
    /// The words that start it there; none for a copy of this program.
    pub(crate) words: Vec<OsString>,
    /// Where copies are, if not in the cache of the user there.
    pub(crate) cache: Option<OsString>,
}

impl FarProgram {
    /// The words that start the agent, whose argument comes last, and the copy that the host may
    /// want.
    pub(super) fn start(
        &self,
        build: Build,
        role: &str,
    ) -> io::Result<(Vec<OsString>, Option<OwnCopy>)> {
        if !self.words.is_empty() {
            let words = self.words.iter().cloned().chain([role.into()]);
            return Ok((words.collect(), None));
        }
        let hash = build.0.ok_or_else(|| {
            io::Error::other("the file of this program cannot be read: name one on the host")
        })?;
        let copy = OwnCopy { length: own_file()?.metadata()?.len() };
        let mut words: Vec<_> = ["/bin/sh", "-c", SCRIPT, "sh"].map(OsString::from).into();
        words.push(self.cache.clone().unwrap_or_default());
        words.extend([format!("{hash:032x}").into(), copy.length.to_string().into()]);
        words.extend(own_arguments().into_iter().map(OsString::from));
        words.push(role.into());
        Ok((words, Some(copy)))
    }
}

/// This program, as it is to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnCopy {
    length: u64,
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
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_can_be_quoted_for_any_shell() {
        assert!(!SCRIPT.contains(['\'', '\n']));
        assert!(!SCRIPT.replace("[ ! -x", "").contains('!'), "csh takes it for history");
    }

    #[test]
    fn this_system_is_called_as_it_calls_itself() {
        let own = Command::new("uname").arg("-sm").output().unwrap();
        assert_eq!(String::from_utf8(own.stdout).unwrap().trim(), own_system());
    }
}
