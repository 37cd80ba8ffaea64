//! Sums up a large CSV file by city: in this process first, then part by part in a pool.
//!
//! ```console
//! $ cargo run --release -p procpool-gallery --bin csv_totals             # 100 megabytes, made on the spot
//! $ cargo run --release -p procpool-gallery --bin csv_totals -- 1000
//! ```

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use futures::TryStreamExt;
use procpool::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};

#[path = "../../../examples/random/mod.rs"]
mod random;
mod scratch;
use random::Random;
use scratch::Scratch;

const MEGABYTE: u64 = 1_000_000;
/// So many parts for each megabyte: enough that the workers end at about the same time.
const PARTS_PER_MEGABYTE: u64 = 2;
const CITIES: [&str; 8] =
    ["Amsterdam", "Berlin", "Copenhagen", "Dublin", "Edinburgh", "Florence", "Geneva", "Helsinki"];

/// Money is counted in cents, so that sums are exact in any order.
const HEADER: &str = "number,city,cents";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Total {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Total {
    fn of(cents: u64) -> Self {
        Self { count: 1, sum: cents, min: cents, max: cents }
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

type Totals = BTreeMap<String, Total>;

fn merge(totals: &mut Totals, others: Totals) {
    for (city, other) in others {
        totals.entry(city).and_modify(|total| total.add(&other)).or_insert(other);
    }
}

/// Sums up the lines from `start` to `end`. It runs in a worker, once for each part; only the
/// totals cross the pipe.
fn sum_up(path: PathBuf, start: u64, end: u64) -> Result<Totals, String> {
    sum_up_part(&path, start, end).map_err(|error| error.to_string())
}

fn sum_up_part(path: &Path, start: u64, end: u64) -> Result<Totals, csv::Error> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut lines =
        csv::ReaderBuilder::new().has_headers(false).from_reader(file.take(end - start));
    let (mut line, mut totals) = (csv::StringRecord::new(), Totals::new());
    while lines.read_record(&mut line)? {
        let (_, city, cents): (u64, &str, u64) = line.deserialize(None)?;
        match totals.get_mut(city) {
            Some(total) => total.add(&Total::of(cents)),
            None => drop(totals.insert(city.to_owned(), Total::of(cents))),
        }
    }
    Ok(totals)
}

procpool::register!(sum_up);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let megabytes = std::env::args().nth(1).map_or(Ok(100), |arg| arg.parse());
    let Ok(megabytes @ 1..) = megabytes else {
        eprintln!("usage: csv_totals [MEGABYTES], at least 1");
        return ExitCode::from(2);
    };
    match compare(megabytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn compare(megabytes: u64) -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new("csv-totals")?;
    let path = scratch.path().join("sales.csv");
    let start = Instant::now();
    let lines = write_sales(&path, megabytes * MEGABYTE)?;
    println!("{lines} lines were written in {:.0?}", start.elapsed());

    let parts = parts(&path, megabytes * PARTS_PER_MEGABYTE)?;
    let (Some((first, _)), Some((_, last))) = (parts.first(), parts.last()) else {
        return Err("there is nothing to sum up".into());
    };
    let start = Instant::now();
    let expected = sum_up(path.clone(), *first, *last)?;
    let serial = start.elapsed();
    println!("they were summed up one after the other in {serial:.0?}");

    let start = Instant::now(); // what it takes to start the workers counts, too
    let pool = ProcessPoolExecutor::new()?;
    let totals = sum_up_parts(&pool, &path, &parts).await?;
    let parallel = start.elapsed();
    let workers = pool.stats().worker_starts;
    pool.shutdown().await;
    println!("{workers} workers did it in {} parts in {parallel:.0?}\n", parts.len());
    if totals != expected {
        return Err("the totals differ".into());
    }
    print(&totals);
    println!("speed-up {:.2}", serial.div_duration_f64(parallel));
    Ok(())
}

async fn sum_up_parts(
    pool: &ProcessPoolExecutor,
    path: &Path,
    parts: &[(u64, u64)],
) -> Result<Totals, Box<dyn Error>> {
    let inputs: Vec<_> = parts.iter().map(|&(start, end)| (path.to_owned(), start, end)).collect();
    let mut results = pool.map(sum_up, inputs);
    let mut totals = Totals::new();
    while let Some(part) = results.try_next().await? {
        merge(&mut totals, part?);
    }
    Ok(totals)
}

/// Writes a header and so many bytes of lines; returns the number of lines.
fn write_sales(path: &Path, bytes: u64) -> io::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut random = Random::new(7);
    let (mut lines, mut written) = (0, 0);
    writeln!(file, "{HEADER}")?;
    while written < bytes {
        let city = random.choose(&CITIES);
        let line = format!("{lines},{city},{}\n", random.below(1_000_000));
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
        lines += 1;
    }
    file.flush()?;
    Ok(lines)
}

/// Where the parts begin and end, each with the beginning of a line, the header left out. Quoted
/// fields must not contain line ends.
fn parts(path: &Path, count: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut file = BufReader::new(File::open(path)?);
    let size = file.get_ref().metadata()?.len();
    let mut ends = Vec::new();
    for part in 0..count {
        file.seek(SeekFrom::Start(size * part / count))?;
        file.skip_until(b'\n')?; // the header, or the rest of a line
        ends.push(file.stream_position()?);
    }
    ends.push(size);
    Ok(ends.windows(2).map(|ends| (ends[0], ends[1])).collect())
}

fn print(totals: &Totals) {
    println!("{:<12} {:>9} {:>14} {:>10} {:>10}", "city", "sales", "sum", "least", "most");
    for (city, Total { count, sum, min, max }) in totals {
        println!(
            "{city:<12} {count:>9} {:>14} {:>10} {:>10}",
            euros(*sum),
            euros(*min),
            euros(*max)
        );
    }
}

fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
