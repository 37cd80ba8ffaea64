//! Which build of a program this is: a worker on another host must be the same one, as functions
//! are called by their position there.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::sync::OnceLock;

use crate::sys::process::{carrier, own_command};
use crate::wire::host::Build;

/// That of this process's program. The first call reads the file, so it may take a moment.
pub(super) fn own_build() -> Build {
    static OWN: OnceLock<Build> = OnceLock::new();
    *OWN.get_or_init(|| Build(own_file().and_then(hash).ok()))
}

/// The file that has this program's code.
pub(super) fn own_file() -> io::Result<File> {
    match carrier() {
        Some(carrier) => File::open(&carrier.code),
        None => File::open(own_command()?.get_program()),
    }
}

/// Nobody is deceived by it: whoever can change the program need not look for a second file with
/// the same hash. Both sides have the same code, so it does not matter which hash this is.
fn hash(mut file: File) -> io::Result<u128> {
    let (mut first, mut second) = (DefaultHasher::new(), DefaultHasher::new());
    second.write_u8(1);
    let mut chunk = vec![0; 1 << 18];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        first.write(&chunk[..count]);
        second.write(&chunk[..count]);
    }
    Ok(u128::from(first.finish()) << 64 | u128::from(second.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_a_build_which_is_no_others() {
        let own = own_build();
        assert!(own.0.is_some());
        assert_eq!(own, own_build());
        assert_ne!(own.0, hash(File::open("/dev/null").unwrap()).ok());
    }
}
