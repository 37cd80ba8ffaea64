//! How a process is to be has a type that can be written, so it can be a field.

use procpool::{Process, ProcessBuilder, ProcessError, ProcessHandle};

use crate::common::in_time;

fn double(n: u64) -> u64 {
    2 * n
}

async fn length(text: String) -> Result<usize, String> {
    Ok(text.len())
}

/// What it returns is nothing that can be sent.
fn fail(code: i32) -> Result<(), std::io::Error> {
    Err(std::io::Error::from_raw_os_error(code))
}

procpool::register!(double, length, fail);

struct Job {
    double: ProcessBuilder<u64, u64>,
    length: ProcessBuilder<String, Result<usize, String>>,
    fail: ProcessBuilder<i32, Result<(), std::io::Error>>,
}

impl Job {
    fn double(&self) -> ProcessHandle<u64> {
        self.double.clone().spawn()
    }
}

async fn result_of<A>(process: ProcessBuilder<A, u64>) -> Result<u64, ProcessError> {
    process.name("given").spawn().await
}

#[tokio::test]
async fn how_a_process_is_to_be_can_be_a_field() {
    let job = Job {
        double: Process::builder(double, 4),
        length: Process::builder(length, "four".to_owned()).awaited().name("length"),
        fail: Process::builder(fail, 5),
    };
    assert_eq!(in_time(job.double()).await.unwrap(), 8);
    assert_eq!(in_time(result_of(job.double)).await.unwrap(), 8);
    assert!(format!("{:?}", job.length).contains("length"), "{:?}", job.length);
    assert_eq!(in_time(job.length.spawn()).await.unwrap(), Ok(4));
    let process = job.fail.build();
    process.start().await.unwrap();
    assert_eq!(in_time(process.join()).await.unwrap(), 1);
}

#[tokio::test]
async fn an_async_function_is_awaited_whether_its_type_says_so_or_not() {
    let plain = Process::builder(length, "four".to_owned());
    assert_eq!(in_time(plain.clone().spawn()).await.unwrap(), Ok(4));
    assert_eq!(in_time(plain.awaited().spawn()).await.unwrap(), Ok(4));
}
