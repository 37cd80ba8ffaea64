//! How OpenSSH reaches a host. The remote shell may be any.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Command;

use crate::host::own_copy::{FarProgram, OwnCopy};
use crate::wire::host::Build;

/// A host by the name that `ssh` knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssh {
    pub(crate) destination: OsString,
    pub(crate) options: Vec<OsString>,
    pub(crate) program: FarProgram,
}

impl Ssh {
    /// The command, which ends with the agent's argument, and the copy that the host may want.
    pub(super) fn command(
        &self,
        build: Build,
        role: &str,
    ) -> io::Result<(Command, Option<OwnCopy>)> {
        let (words, copy) = self.program.start(build, role)?;
        let mut command = Command::new("ssh");
        command.args(["-T", "-o", "BatchMode=yes"]).args(&self.options);
        command.arg("--").arg(&self.destination);
        command.arg(in_shell("exec", words.iter().map(OsString::as_os_str)));
        Ok((command, copy))
    }
}

/// Words for a shell on the other side, behind one that needs no quotes.
fn in_shell<'a>(before: &str, words: impl Iterator<Item = &'a OsStr>) -> OsString {
    let mut text = OsString::from(before);
    for word in words {
        text.push(" ");
        text.push(quoted(&word.to_string_lossy()));
    }
    text
}

/// As one word, for every shell that knows single and double quotes.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r#"'"'"'"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_were_whatever_is_in_them() {
        let words = ["plain", "two words", "it's", "", "$HOME \"quoted\" \\ `no`"];
        let text = in_shell("printf %s,", words.iter().map(OsStr::new));
        let printed = Command::new("sh").arg("-c").arg(text).output().unwrap();
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), words.join(",") + ",");
    }
}
