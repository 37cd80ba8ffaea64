//! Paints pictures as PNG and JPEG, and makes thumbnails of them; one of the files is corrupt.
//!
//! ```console
//! $ cargo run --release -p procpool-gallery --bin thumbnails
//! $ cargo run --release -p procpool-gallery --bin thumbnails -- 100 2000      # so many, of so many pixels' width
//! ```

#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use image::{ImageError, Rgb, RgbImage};
use procpool::ProcessPoolExecutor;
use serde::{Deserialize, Serialize};

mod scratch;
use scratch::Scratch;

/// What a thumbnail fits into.
const SIDE: u32 = 128;

#[derive(Serialize, Deserialize)]
struct Thumbnail {
    width: u32,
    height: u32,
}

/// Why there is no thumbnail. An error of the task's own: it crosses the pipe as any result does,
/// so it is a serde type.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
enum Failure {
    #[error("it is no picture: {0}")]
    Corrupt(String),
    #[error("this kind of picture is not supported: {0}")]
    Unsupported(String),
    #[error("a file cannot be read or written: {0}")]
    File(String),
}

impl Failure {
    fn of_decoding(error: &ImageError) -> Self {
        match error {
            ImageError::Unsupported(_) => Self::Unsupported(error.to_string()),
            _ => Self::Corrupt(error.to_string()),
        }
    }

    fn of_file(error: &impl Error) -> Self {
        Self::File(error.to_string())
    }
}

/// Reads a picture, and writes its thumbnail beside it. A picture that is a trap for the decoder
/// could do no more than crash this worker.
fn thumbnail(picture: PathBuf) -> Result<Thumbnail, Failure> {
    let bytes = fs::read(&picture).map_err(|error| Failure::of_file(&error))?;
    let pixels = image::load_from_memory(&bytes).map_err(|error| Failure::of_decoding(&error))?;
    let thumbnail = pixels.thumbnail(SIDE, SIDE);
    let target = picture.with_extension("thumbnail.png");
    thumbnail.save(target).map_err(|error| Failure::of_file(&error))?;
    Ok(Thumbnail { width: thumbnail.width(), height: thumbnail.height() })
}

/// Paints a picture in the format that the name of the file asks for.
fn paint(picture: PathBuf, number: u32, width: u32) -> Result<(), Failure> {
    let shade = |value: u32| u8::try_from(value % 256).unwrap_or_default();
    let pixels = RgbImage::from_fn(width, width * 3 / 4, |x, y| {
        Rgb([shade(x * y / width + number * 40), shade(x + number * 90), shade(y ^ x)])
    });
    pixels.save(picture).map_err(|error| Failure::of_file(&error))
}

procpool::register!(thumbnail, paint);

fn main() -> ExitCode {
    procpool::init(); // a worker process stops here and never returns

    let Some((count, width)) = arguments(std::env::args().skip(1)) else {
        eprintln!("usage: thumbnails [PICTURES [WIDTH]], which is from 2 to 10000 pixels");
        return ExitCode::from(2);
    };
    match show(count, width) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut args: impl Iterator<Item = String>) -> Option<(u32, u32)> {
    let count = args.next().map_or(Ok(24), |arg| arg.parse()).ok()?;
    let width = args.next().map_or(Ok(1_200), |arg| arg.parse()).ok()?;
    ((2..=10_000).contains(&width) && args.next().is_none()).then_some((count, width))
}

#[tokio::main]
async fn show(count: u32, width: u32) -> Result<(), Box<dyn Error>> {
    let pool = ProcessPoolExecutor::new()?;
    let scratch = Scratch::new("thumbnails")?;
    let start = Instant::now();
    let pictures = paint_all(&pool, scratch.path(), count, width).await?;
    println!("{count} pictures of {width} pixels' width were painted in {:.0?}", start.elapsed());

    let start = Instant::now();
    let mut made = 0;
    // In the order in which they are finished; the index says which one it is.
    let mut thumbnails = pool.map(thumbnail, pictures.clone()).unordered().with_index();
    while let Some((index, result)) = thumbnails.next().await {
        let name = pictures[index].file_name().unwrap_or_default().display();
        // The outer error would be the pool's: a crash, say. The inner one is the function's own.
        match result? {
            Ok(Thumbnail { width, height }) => {
                println!("{name}: {width} × {height}");
                made += 1;
            }
            Err(failure) => println!("{name}: FAILED, {failure}"),
        }
    }
    pool.shutdown().await;
    println!("{made} of {count} thumbnails were made in {:.0?}", start.elapsed());
    Ok(())
}

/// Every other picture is a PNG, and one of these is cut off in its middle.
async fn paint_all(
    pool: &ProcessPoolExecutor,
    directory: &Path,
    count: u32,
    width: u32,
) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let name = |n| format!("{n:04}.{}", if n % 2 == 0 { "png" } else { "jpeg" });
    let pictures: Vec<_> = (0..count).map(|n| directory.join(name(n))).collect();
    let inputs: Vec<_> =
        (0..count).zip(&pictures).map(|(n, path)| (path.clone(), n, width)).collect();
    let painted: Vec<Result<(), Failure>> = pool.map(paint, inputs).try_collect().await?;
    painted.into_iter().collect::<Result<(), _>>()?;
    if let Some(victim) = pictures.iter().step_by(2).nth(count as usize / 4) {
        let bytes = fs::read(victim)?;
        fs::write(victim, &bytes[..bytes.len() / 2])?;
    }
    Ok(pictures)
}
