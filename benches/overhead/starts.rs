//! How soon a pool is there.

use procpool::ProcessPoolExecutor;

use super::bed::{Bed, Flavor, seconds};
use super::counts::noop;
use super::floor::{bare_spawn, bare_spawns};
use super::harness::{Aim, Block, Case, Options, Unit};

const MANY: usize = 64;

pub(crate) fn cases(options: &Options) -> Vec<Case> {
    let flavors = [Flavor::CurrentThread, Flavor::Spawned].into_iter();
    let first_results = flavors.map(|flavor| first_result(flavor, options));
    first_results.chain([many_workers(options)]).collect()
}

fn first_result(flavor: Flavor, options: &Options) -> Case {
    let name = format!("new() to first result, {}", flavor.name());
    let case = Case::new(name, Unit::Latency, options.scale(100), move || {
        let bed = Bed::new(flavor);
        Box::new(move || {
            let reference = vec![bare_spawn()];
            let ours = bed.run(async {
                let (took, pool) = seconds(async {
                    let pool = ProcessPoolExecutor::new().expect("a pool");
                    assert_eq!(pool.run(noop, 1).await.expect("a result"), 1);
                    pool
                })
                .await;
                pool.shutdown().await;
                took
            });
            Block::against(reference, ours)
        })
    });
    case.floor("bare spawn to first byte", &[Aim::Ratio(1.5)])
}

fn many_workers(options: &Options) -> Case {
    let name = format!("pool of {MANY} ready");
    let case = Case::new(name, Unit::Latency, options.scale(10), || {
        let bed = Bed::new(Flavor::Spawned);
        Box::new(move || {
            let reference = vec![bare_spawns(MANY)];
            let ours = bed.run(async {
                let (took, pool) = seconds(async {
                    let builder = ProcessPoolExecutor::builder().max_workers(MANY);
                    let pool = builder.min_workers(MANY).build().expect("a pool");
                    pool.ready().await.expect("workers");
                    pool
                })
                .await;
                pool.shutdown().await;
                took
            });
            Block::against(reference, ours)
        })
    });
    case.floor("as many bare spawns at once", &[Aim::Ratio(1.3)])
}
