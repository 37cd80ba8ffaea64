//! Which build of a program this is: a worker on another host must be the same one, as functions
//! are called by their position there.

use std::fs::File;
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

/// So much is read at once.
const CHUNK: u64 = 1 << 18;

/// Nobody is deceived by it: whoever can change the program need not look for a second file with
/// the same hash. Both sides have the same code, so it does not matter which hash this is. It is
/// quick even where nothing is optimized: programs for debugging are large.
fn hash(file: impl Read) -> io::Result<u128> {
    let (mut file, mut hash, mut length) = (file, 0_u128, 0_u64);
    let mut chunk = Vec::new();
    loop {
        chunk.clear();
        let count = file.by_ref().take(CHUNK).read_to_end(&mut chunk)?;
        if count == 0 {
            return Ok(mixed(hash, u128::from(length)));
        }
        length += count as u64;
        chunk.resize(count.next_multiple_of(16), 0); // the last one, if at all
        for word in chunk.as_chunks().0 {
            hash = mixed(hash, u128::from_le_bytes(*word));
        }
    }
}

/// For each word another hash becomes another one.
fn mixed(hash: u128, word: u128) -> u128 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    (hash ^ word).wrapping_mul(ODD).rotate_left(61)
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

    #[test]
    fn files_that_differ_anywhere_have_other_hashes() {
        let chunk = usize::try_from(CHUNK).unwrap();
        let (mut value, mut hashes) = (0, std::collections::BTreeSet::new());
        for length in [0, 1, 15, 16, 17, chunk - 1, chunk, chunk + 1, 2 * chunk + 5] {
            let mut bytes = vec![0; length];
            assert!(hashes.insert(hash(&bytes[..]).unwrap()), "{length}");
            for place in [0, 7, 15, 16, length / 2, length.saturating_sub(1)] {
                if let Some(byte) = bytes.get_mut(place) {
                    value += 1; // it was nowhere before
                    *byte = value;
                    assert!(hashes.insert(hash(&bytes[..]).unwrap()), "{length}, {place}");
                }
            }
        }
    }

    #[test]
    fn it_does_not_matter_in_which_pieces_a_file_is_read() {
        let bytes: Vec<_> = (0..1_000_u32).flat_map(u32::to_le_bytes).collect();
        let pieces = bytes[..7].chain(&bytes[7..1_001]).chain(&bytes[1_001..]);
        assert_eq!(hash(pieces).unwrap(), hash(&bytes[..]).unwrap());
    }
}
