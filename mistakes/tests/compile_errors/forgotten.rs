//! What does nothing, or ends at once, if it is dropped.

#![deny(unused_must_use)]

fn square(x: u64) -> u64 {
    x * x
}

procpool::register!(square);

async fn call(pool: procpool::ProcessPoolExecutor) -> Result<(), Box<dyn std::error::Error>> {
    procpool::Process::new(square, 3);
    procpool::Process::builder(square, 3).name("square");
    procpool::Process::builder(square, 3).build();
    procpool::Process::new(square, 3).start();
    procpool::ProcessPoolExecutor::builder().max_workers(3);
    procpool::ForkServer::builder();
    pool.task(square, 3).label("square");
    pool.run(square, 3);
    pool.submit(square, 3).await?;
    pool.map(square, [3]);
    procpool::TaskSet::<u64>::new();
    procpool::Shutdown::new();
    procpool::ResourceLimits::new();
    procpool::ProcessPoolExecutor::new()?;
    procpool::ForkServer::builder().build()?;
    Ok(())
}

fn main() {}
