//! Fuzzing of everything that reads what the other side has written.
//!
//! Whatever comes, nothing panics, nothing takes long, and no more memory is taken than the bytes
//! that are there allow. Each target has a corpus in `tests/corpus`: what the encoders write, which
//! is kept up to date by [`Seeds::record`], and inputs that have found something. A test of each
//! target mutates these, by default a fixed number of times and in the same way each time. For a
//! long run, of so many seconds for each target and with another seed each time:
//!
//! ```text
//! PROCPOOL_FUZZ_SECONDS=600 cargo test --release --lib fuzz
//! ```
//!
//! An input that fails is made as small as can be, and written to the corpus.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutatis::check::{Check as Mutations, CheckError};
use rustix::time::{ClockId, clock_gettime};

use super::{Check, ensure, number};
use crate::sys::counting::memory_for;
use crate::wire::frame::{LENGTH, put_frame};
use crate::wire::message::Kind;

/// Inputs that are longer are not looked at: frames that are large are so because of their payload.
const LONGEST: usize = 16 << 10;
/// More than anything takes, even in a debug build; of the thread's own time.
const LONGEST_TIME: Duration = Duration::from_secs(5);
/// How often an input of the corpus is mutated before it begins anew.
const STEPS: usize = 8;
/// Of mutations, if no time is given.
const FEW: usize = 10_000;

/// What the encoders write, by a name for each.
pub(crate) struct Seeds {
    target: &'static str,
    seeds: BTreeMap<&'static str, Vec<u8>>,
}

impl Seeds {
    pub(crate) fn new(target: &'static str) -> Self {
        Self { target, seeds: BTreeMap::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, bytes: Vec<u8>) -> Self {
        assert!(bytes.len() <= LONGEST, "{name} is too long");
        self.seeds.insert(name, bytes);
        self
    }

    fn directory(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(self.target)
    }

    /// Writes the seeds if `PROCPOOL_RECORD_CORPUS` is set, or else makes sure that they are those
    /// in the corpus.
    fn record(&self) {
        let directory = self.directory();
        let is_recording = std::env::var_os("PROCPOOL_RECORD_CORPUS").is_some();
        fs::create_dir_all(&directory).unwrap();
        for (name, bytes) in &self.seeds {
            let path = directory.join(name);
            if is_recording {
                fs::write(&path, bytes).unwrap();
            }
            let is_recorded = fs::read(&path).is_ok_and(|recorded| recorded == *bytes);
            assert!(
                is_recorded,
                "{}: the encoders write something else now; run this with PROCPOOL_RECORD_CORPUS=1",
                path.display()
            );
        }
    }

    /// All of the corpus, in the same order each time.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
    }

    /// Runs the target with mutations of the corpus. It may take `most` bytes of memory at a time,
    /// and `per_byte` of the input more.
    pub(crate) fn fuzz(&self, (most, per_byte): (usize, usize), mut target: impl FnMut(&[u8])) {
        self.record();
        let corpus = self.corpus();
        let mut property = |input: &Vec<u8>| -> Check {
            let input = &input[..input.len().min(LONGEST)];
            let began = cpu_time();
            let memory = memory_for(|| target(input));
            let (took, limit) = (cpu_time().saturating_sub(began), most + per_byte * input.len());
            ensure!(took <= LONGEST_TIME, "it took {took:?}");
            ensure!(memory <= limit, "it took {memory} bytes of memory");
            Ok(())
        };
        for seed in rounds(corpus.len() * STEPS) {
            let mut mutations = Mutations::new();
            mutations.seed(seed).iters(corpus.len() * STEPS).max_duration(Duration::MAX);
            match mutations.run_with(
                mutatis::mutators::default::<Vec<u8>>(),
                corpus.clone(),
                &mut property,
            ) {
                Ok(()) => {}
                Err(CheckError::Failed(failure)) => {
                    let message = format!("{} with seed {seed}", failure.message);
                    self.fail(&failure.value, &message)
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn fail(&self, input: &[u8], message: &str) -> ! {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(input);
        let path = self.directory().join(format!("found-{:016x}", hasher.finish()));
        fs::write(&path, input).unwrap();
        panic!("{message}; the input is now in {}: {input:?}", path.display());
    }
}

/// Seeds of rounds of so many mutations each: the same ones each time, or different ones until the
/// time is up.
fn rounds(mutations: usize) -> Box<dyn Iterator<Item = u64>> {
    let Some(seconds) = number("PROCPOOL_FUZZ_SECONDS") else {
        return Box::new(0..u64::try_from(FEW.div_ceil(mutations)).unwrap());
    };
    let limit = Duration::from_secs(seconds);
    let (began, seeds) = (Instant::now(), RandomState::new());
    Box::new(
        (0_u64..)
            .map(move |round| seeds.hash_one(round))
            .take_while(move |_| began.elapsed() < limit),
    )
}

/// Of this thread: others may have the processor meanwhile.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Whole frames of one kind, as they are sent.
pub(crate) fn frame(kind: Kind, header: &impl serde::Serialize, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_frame(&mut frame, kind, header, payload.len()).unwrap();
    frame.extend_from_slice(payload);
    frame
}

/// Cuts an input into a number that says how it is to be used, and the rest.
pub(crate) fn split(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, &[]), |(first, rest)| (*first, rest))
}

/// In the number of a stream: its one frame is as long as it says, whatever mutation has made of
/// it. Few would get beyond the length otherwise.
pub(crate) const MENDED: u8 = 1;

/// As [`split`], for a stream of frames.
pub(crate) fn split_stream(input: &[u8]) -> (u8, Vec<u8>) {
    let (number, stream) = split(input);
    let mut stream = stream.to_vec();
    let length = u32::try_from(stream.len().saturating_sub(LENGTH)).unwrap();
    if let Some(prefix) = stream.first_chunk_mut::<LENGTH>().filter(|_| number & MENDED != 0) {
        *prefix = length.to_le_bytes();
    }
    (number, stream)
}

/// The other way round.
pub(crate) fn stream(number: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    [&[number][..], &frames.concat()].concat()
}
