//! A program that has our code in it, and is not ours.

use std::path::PathBuf;

/// What has brought this code into this process, and would be started by the name of its program:
/// an interpreter or another program that has loaded a library; or a loader, an emulator or a tool
/// that runs the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Carrier {
    /// The program that the system knows.
    pub(crate) program: PathBuf,
    /// The file that has our code.
    pub(crate) code: PathBuf,
    pub(crate) is_library: bool,
}
