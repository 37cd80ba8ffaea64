//! What a process that is started finds around it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// The environment and the directory of this process, as they were at some moment.
#[derive(Debug)]
pub(crate) struct Surroundings {
    env: Vec<(OsString, OsString)>,
    /// `None` if it was not to be had.
    directory: Option<PathBuf>,
}

impl Surroundings {
    /// As they are now.
    pub(crate) fn now() -> Self {
        Self { env: std::env::vars_os().collect(), directory: std::env::current_dir().ok() }
    }

    pub(super) fn has_variable(&self, name: &str) -> bool {
        self.env.iter().any(|(variable, _)| variable == name)
    }

    /// Has the program start in them, of which a part may have changed meanwhile. What has not is
    /// left to be inherited: a directory may be one that could not be entered again.
    pub(super) fn prepare(&self, command: &mut Command) {
        let now = Self::now();
        if self.env != now.env {
            command.env_clear().envs(self.env.iter().cloned());
        }
        if let Some(directory) = &self.directory
            && self.directory != now.directory
        {
            command.current_dir(directory);
        }
    }
}
