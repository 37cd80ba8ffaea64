//! What a pool returns has a type that can be written, so it can be a field.

use std::ops::Range;
use std::vec;

use futures::StreamExt;
use futures::stream::{BoxStream, Iter};
use procpool::{Indexed, Map, ProcessPoolExecutor, RunError, TaskBuilder, TaskError, TaskHandle};

use crate::common::in_time;

fn double(n: u64) -> u64 {
    2 * n
}

async fn length(text: String) -> Result<usize, String> {
    Ok(text.len())
}

procpool::register!(double, length);

struct Batch {
    doubled: Map<u64, Iter<Range<u64>>>,
    lengths: Map<Result<usize, String>, Iter<vec::IntoIter<String>>, Indexed>,
    from_stream: Map<u64, std::pin::Pin<Box<BoxStream<'static, u64>>>>,
    handle: TaskHandle<u64>,
}

struct Job<'a, R> {
    task: TaskBuilder<'a, String, R>,
}

impl<R: serde::de::DeserializeOwned> Job<'_, R> {
    async fn run(self) -> Result<R, RunError> {
        self.task.retries(1).run().await
    }
}

#[tokio::test]
async fn what_a_pool_returns_can_be_a_field() {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().unwrap();
    let mut batch = Batch {
        doubled: pool.map(double, 0..3),
        lengths: pool.map(length, vec!["four".to_owned()]).with_index(),
        from_stream: pool.map_stream(double, futures::stream::iter([5]).boxed()),
        handle: pool.submit(double, 4).await.unwrap(),
    };
    let first: Option<Result<u64, TaskError>> = in_time(batch.doubled.next()).await;
    assert_eq!(first.unwrap().unwrap(), 0);
    let (index, result) = in_time(batch.lengths.next()).await.unwrap();
    assert_eq!((index, result.unwrap()), (0, Ok(4)));
    assert_eq!(in_time(batch.from_stream.next()).await.unwrap().unwrap(), 10);
    assert_eq!(in_time(batch.handle).await.unwrap(), 8);
    let job = Job { task: pool.task(length, "five5".to_owned()) };
    assert_eq!(in_time(job.run()).await.unwrap(), Ok(5));
}
