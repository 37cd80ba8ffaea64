//! What keeps a process from being forked, or would be shared by workers: said by name.

use std::fmt;

use crate::base::maps::SortedMap;
use crate::sys::descriptor::RawDescriptor;
use crate::sys::fork::{HeldOpen, OtherThread, has_loaded, held, inherited_thread_name};

/// So many of what a preload has left behind are told.
const MOST: usize = 8;

/// What the preload has left behind that workers would share.
pub(super) struct Leftovers {
    /// For which no worker can be forked.
    pub(super) refusal: Option<String>,
    /// What somebody should look at.
    pub(super) remarks: Vec<String>,
}

impl Leftovers {
    /// But for what was there before.
    pub(super) fn look(before: &[RawDescriptor]) -> Self {
        Self::of(held(before).unwrap_or_default())
    }

    fn of(held: Vec<HeldOpen>) -> Self {
        let (mut refusal, mut remarks) = (None, Vec::new());
        for held in held {
            match held {
                HeldOpen::EventPoll(fd) => {
                    refusal.get_or_insert_with(|| {
                        format!(
                            "the preload has left a runtime behind, or another holder of an epoll \
                             descriptor ({fd}), which workers would share; make it in the \
                             initializer, which runs in each worker"
                        )
                    });
                }
                HeldOpen::Connection(fd, with) => {
                    let unnamed = "an unnamed socket, as runtimes and handlers of signals have";
                    let with = with.unwrap_or_else(|| unnamed.to_owned());
                    remarks.push(format!(
                        "a connection with {with} (descriptor {fd}), of which each worker would read a \
                         part"
                    ));
                }
                HeldOpen::Lock(fd, path) => remarks.push(format!(
                    "a lock on `{path}` (descriptor {fd}), which keeps no worker out"
                )),
            }
        }
        remarks.truncate(MOST);
        Self { refusal, remarks }
    }
}

/// The preload has left threads behind.
pub(super) fn threads_left(threads: &[OtherThread]) -> String {
    let (count, names) = (threads.len(), ThreadNames::of(threads));
    format!(
        "the preload has left threads behind ({count}), and a fork does not copy them; start them in \
         the initializer, which runs in each worker; {names}{}",
        names.hint()
    )
}

/// There were threads before anything was run.
pub(super) fn threads_at_start(threads: &[OtherThread]) -> String {
    let (count, names) = (threads.len() + 1, ThreadNames::of(threads));
    let hint = names.hint();
    if names.are_of_allocator() {
        return format!("it had {count} threads before `main`; {names}{hint}");
    }
    format!(
        "it had {count} threads when it came to `procpool::init()`, which has to be the first \
         statement of `main`, and not of an `async` one, unless a library has started them before \
         that; {names}{hint}"
    )
}

/// What threads are called.
struct ThreadNames {
    counts: SortedMap<String, usize>,
    /// That have the name of who has started them.
    unnamed: usize,
}

impl ThreadNames {
    fn of(threads: &[OtherThread]) -> Self {
        let inherited = inherited_thread_name();
        let mut names = Self { counts: SortedMap::new(), unnamed: 0 };
        for thread in threads {
            if Some(&thread.name) == inherited.as_ref() || thread.is_first {
                names.unnamed += 1;
            } else {
                *names.counts.or_default(&thread.name) += 1;
            }
        }
        names
    }

    fn has(&self, part: &str) -> bool {
        self.counts.keys().any(|name| name.contains(part))
    }

    fn are_of_allocator(&self) -> bool {
        self.unnamed == 0 && self.counts.keys().all(|name| name.starts_with(JEMALLOC))
    }

    /// What helps against those that are known, and those that most often have no name.
    fn hint(&self) -> String {
        let mut hints = Vec::new();
        if self.has(JEMALLOC) {
            hints.push(
                "jemalloc starts one unless the environment says \
                 `_RJEM_MALLOC_CONF=background_thread:false` (in C, `MALLOC_CONF`)",
            );
        }
        if self.unnamed > 0 {
            let is_loaded = |parts: &[&str]| parts.iter().any(|part| has_loaded(part));
            let loaded = LIBRARIES.iter().filter(|(parts, _)| is_loaded(parts));
            hints.extend(loaded.map(|(_, hint)| *hint));
        }
        if hints.is_empty() && (self.unnamed > 0 || self.has("rayon")) {
            hints.push(
                "rayon's global pool keeps its threads: load in a `rayon::ThreadPool` of your own, \
                 by `install`, and drop it",
            );
        }
        hints.iter().flat_map(|hint| ["; ", hint]).collect()
    }
}

impl fmt::Display for ThreadNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<_> = self.counts.iter().take(MOST).map(counted).collect();
        if self.unnamed > 0 {
            texts.push(format!("{} without a name of their own", self.unnamed));
        }
        write!(f, "there are {}", texts.join(", "))
    }
}

fn counted((name, count): (&String, &usize)) -> String {
    if *count == 1 { format!("`{name}`") } else { format!("`{name}` ({count})") }
}

const JEMALLOC: &str = "jemalloc_bg_thd";

/// Libraries whose threads have no name, by parts of the names of their files; and how they are
/// told to start none.
const LIBRARIES: [(&[&str], &str); 3] = [
    (
        &["openblas"],
        "OpenBLAS is loaded, which starts none with `.env(\"OPENBLAS_NUM_THREADS\", \"1\")`",
    ),
    (&["mkl_"], "MKL is loaded, which starts none with `.env(\"MKL_NUM_THREADS\", \"1\")`"),
    (
        &["libgomp", "libomp", "libiomp"],
        "OpenMP is loaded, which starts none with `.env(\"OMP_NUM_THREADS\", \"1\")`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(names: &[&str]) -> Vec<OtherThread> {
        let thread = |name: &&str| OtherThread {
            name: (*name).to_owned(),
            is_asleep: true,
            is_first: false,
        };
        names.iter().map(thread).collect()
    }

    #[test]
    fn threads_are_named() {
        let text = threads_left(&threads(&["rocksdb:low", "rocksdb:high", "rocksdb:low"]));
        assert_eq!(
            text,
            "the preload has left threads behind (3), and a fork does not copy them; start them in \
             the initializer, which runs in each worker; there are `rocksdb:high`, `rocksdb:low` (2)"
        );
    }

    #[test]
    fn those_without_a_name_are_most_likely_of_a_pool() {
        let unnamed = inherited_thread_name().unwrap();
        let text = threads_left(&threads(&[&unnamed, &unnamed]));
        assert!(text.contains("there are 2 without a name of their own; rayon's"), "{text}");
    }

    #[test]
    fn main_is_not_blamed_for_an_allocator() {
        let text = threads_at_start(&threads(&["jemalloc_bg_thd"]));
        assert_eq!(
            text,
            "it had 2 threads before `main`; there are `jemalloc_bg_thd`; jemalloc starts one unless \
             the environment says `_RJEM_MALLOC_CONF=background_thread:false` (in C, `MALLOC_CONF`)"
        );
        let text = threads_at_start(&threads(&["jemalloc_bg_thd", "mine"]));
        assert!(text.contains("it had 3 threads when it came to `procpool::init()`"), "{text}");
        assert!(text.contains("there are `jemalloc_bg_thd`, `mine`; jemalloc"), "{text}");
    }

    #[test]
    fn what_is_open_is_refused_or_told() {
        let held = vec![
            HeldOpen::Connection(5, Some("127.0.0.1:5432".to_owned())),
            HeldOpen::EventPoll(6),
            HeldOpen::Lock(7, "/var/db".to_owned()),
            HeldOpen::Connection(8, None),
        ];
        let Leftovers { refusal, remarks } = Leftovers::of(held);
        assert!(refusal.unwrap().contains("holder of an epoll descriptor (6)"));
        assert_eq!(
            remarks,
            [
                "a connection with 127.0.0.1:5432 (descriptor 5), of which each worker would read a \
                 part",
                "a lock on `/var/db` (descriptor 7), which keeps no worker out",
                "a connection with an unnamed socket, as runtimes and handlers of signals have \
                 (descriptor 8), of which each worker would read a part",
            ]
        );
    }
}
