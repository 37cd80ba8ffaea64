//! Counts the words of text files on every core.
//!
//! ```console
//! $ cargo run --release --example wordcount                     # license texts and the like
//! $ cargo run --release --example wordcount -- README.md src    # files and directories
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use futures::StreamExt;
use procpool::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};

const TOP: usize = 20;
/// There may be thousands of them.
const MOST_COPYRIGHT_FILES: usize = 500;
const MOST_COMPLAINTS: usize = 5;

/// The words of one file, or of all of them.
#[derive(Default, Serialize, Deserialize)]
struct Count {
    files: u64,
    bytes: u64,
    words: BTreeMap<String, u64>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        for (word, times) in other.words {
            *self.words.entry(word).or_default() += times;
        }
    }

    /// The most frequent words, the most frequent first.
    fn top(&self) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self.words.iter().map(|(word, times)| (&**word, *times)).collect();
        words.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        words.truncate(TOP);
        words
    }
}

/// Runs in a worker. A file that cannot be read is a result like any other.
fn count_words(path: PathBuf) -> Result<Count, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut count = Count { files: 1, bytes: text.len() as u64, ..Count::default() };
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        *count.words.entry(word.to_lowercase()).or_default() += 1;
    }
    Ok(count)
}

procpool::register!(count_words);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let given: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut files = Vec::new();
    if given.is_empty() {
        files = texts_at_hand();
    } else {
        for path in given {
            find_files(path, &mut files);
        }
    }
    match count_all(&files) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("no text was found\nusage: wordcount [FILE or DIRECTORY]...");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// License texts and copyright notices as Debian has them, or else this repository's own texts.
fn texts_at_hand() -> Vec<PathBuf> {
    let mut files = Vec::new();
    find_files("/usr/share/common-licenses".into(), &mut files);
    let packages = entries(Path::new("/usr/share/doc"));
    let notices = packages.into_iter().map(|package| package.join("copyright"));
    files.extend(notices.filter(|path| path.is_file()).take(MOST_COPYRIGHT_FILES));
    files.retain(|path| path.is_file());
    if files.is_empty() {
        files = entries(Path::new(env!("CARGO_MANIFEST_DIR")));
        files.retain(|path| {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("LICENSE") || path.extension().is_some_and(|end| end == "md")
        });
    }
    files
}

/// Adds the path, or if it is a directory what is in it, at any depth. In directories it does not
/// follow symbolic links, so that no file counts twice.
fn find_files(path: PathBuf, files: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        files.push(path); // if there is no such file, the worker will say so
        return;
    }
    for entry in entries(&path) {
        if !entry.is_symlink() {
            find_files(entry, files);
        }
    }
}

/// What is in a directory, in order; nothing if it cannot be read.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Counts, and prints what it has found; false if there was nothing to count.
#[tokio::main]
async fn count_all(files: &[PathBuf]) -> Result<bool, Box<dyn Error>> {
    let start = Instant::now();
    let pool = ProcessPoolExecutor::new()?;
    let (mut sum, mut complaints) = (Count::default(), Vec::new());
    // Files are handed out as results come in, so there may be any number of them.
    let mut counts = pool.map(count_words, files.to_vec()).zip(futures::stream::iter(files));
    let mut done = 0;
    while let Some((result, path)) = counts.next().await {
        match result {
            Ok(Ok(count)) => sum.add(count),
            Ok(Err(reason)) => complaints.push(format!("{}: {reason}", path.display())),
            Err(error) => complaints.push(format!("{}: {error}", path.display())),
        }
        done += 1;
        show_progress(done, files.len())?;
    }
    pool.shutdown().await;
    print(&sum, &complaints);
    println!("{:.0?}, workers started: {}", start.elapsed(), pool.stats().worker_starts);
    Ok(sum.files > 0)
}

/// A line that overwrites itself on a terminal, a few lines elsewhere.
fn show_progress(done: usize, total: usize) -> io::Result<()> {
    let mut stderr = io::stderr();
    let text = format!("{done} of {total} files");
    if stderr.is_terminal() {
        write!(stderr, "\r{text}{}", if done == total { "\n" } else { "" })
    } else if done == total || done.is_multiple_of(total.div_ceil(4)) {
        writeln!(stderr, "{text}")
    } else {
        Ok(())
    }
}

fn print(sum: &Count, complaints: &[String]) {
    for complaint in complaints.iter().take(MOST_COMPLAINTS) {
        println!("left out {complaint}");
    }
    if complaints.len() > MOST_COMPLAINTS {
        println!("left out {} more", complaints.len() - MOST_COMPLAINTS);
    }
    for (word, times) in sum.top() {
        println!("{times:>9}  {word}");
    }
    let total: u64 = sum.words.values().sum();
    println!("{total} words in {} files of {} bytes", sum.files, sum.bytes);
}
