//! Large arguments and results.

use std::hint::black_box;
use std::rc::Rc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use procpool::{ProcessPoolExecutor, RunError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::bed::{Bed, Flavor, seconds, timed};
use super::counts::echo;
use super::harness::{Aim, Block, Case, Measure, Options, Unit};
use super::peers::{Peer, Peers, against, ask};

const PAYLOAD: usize = 64 << 20;
const BYTE: u8 = 0xA5;
const NAMES: usize = 10_000;

fn echo_bytes(payload: Bytes) -> Bytes {
    payload
}

fn echo_vec(payload: Vec<u8>) -> Vec<u8> {
    payload
}

/// As data for a computation often is: some long columns, and names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Table {
    columns: Vec<Vec<f64>>,
    names: Vec<String>,
}

impl Table {
    fn new() -> Self {
        let column = |first: u32| (first..first + 1_000_000).map(f64::from).collect();
        let names = (0..NAMES).map(|n| format!("the name of row {n}")).collect();
        Self { columns: (0..4).map(column).collect(), names }
    }

    fn encoded(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("it can be encoded")
    }
}

#[expect(clippy::needless_pass_by_value, reason = "tasks own their arguments")]
fn rows(table: Table) -> usize {
    table.columns[0].len()
}

fn echo_table(table: Table) -> Table {
    table
}

procpool::register!(echo_bytes, echo_vec, rows, echo_table);

/// Sends a payload there and back, and says how long what came back is.
type Call = fn(ProcessPoolExecutor, Vec<u8>) -> BoxFuture<'static, usize>;

pub(crate) fn cases(options: &Options, peers: &Peers) -> Vec<Case> {
    let calls: [(&str, &[Rc<Peer>], Call); 3] = [
        ("bytes::Bytes", peers.all(), |pool, payload| {
            async move { result(pool.run(echo_bytes, payload.into()).await).len() }.boxed()
        }),
        ("serde_bytes::ByteBuf", &[], |pool, payload| {
            async move { result(pool.run(echo, ByteBuf::from(payload)).await).len() }.boxed()
        }),
        ("Vec<u8>", &[], |pool, payload| {
            async move { result(pool.run(echo_vec, payload).await).len() }.boxed()
        }),
    ];
    let bytes = calls.into_iter().map(|(name, peers, call)| bytes_case(name, peers, call, options));
    let tables = [("in", 1), ("in and out", 2)].map(|(name, ways)| table_case(name, ways, options));
    bytes.chain(tables).collect()
}

fn result<T>(result: Result<T, RunError>) -> T {
    result.expect("a result")
}

fn bytes_case(name: &str, peers: &[Rc<Peer>], call: Call, options: &Options) -> Case {
    let name = format!("64 MiB there and back, {name}");
    let (unit, asked) = (Unit::Throughput(2 * PAYLOAD), peers.to_vec());
    let case = Case::new(name, unit, options.scale(9), move || bytes_measure(call, asked));
    let case = case.aim(Aim::BytesPerSecond(3e9)).floor("copied in memory", &[]);
    let case = against(case, peers, &[]);
    if peers.is_empty() { case } else { case.best_peer(Aim::Times(4.0)) }
}

fn bytes_measure(call: Call, peers: Vec<Rc<Peer>>) -> Measure {
    let bed = Bed::new(Flavor::Spawned);
    let pool = bed.pool(2);
    let source = vec![BYTE; PAYLOAD];
    let (mut there, mut back) = (vec![0; PAYLOAD], vec![0; PAYLOAD]);
    Box::new(move || {
        let mut others = vec![timed(1, || {
            there.copy_from_slice(black_box(&source));
            back.copy_from_slice(black_box(&there));
            black_box(&back);
        })];
        let (pool, payload) = (pool.clone(), source.clone());
        let (took, length) = bed.run(async move { seconds(call(pool, payload)).await });
        assert_eq!(length, PAYLOAD);
        others.extend(ask(&peers, "payload", PAYLOAD));
        Block { ours: vec![took], others }
    })
}

/// Against encoding, one copy and decoding in memory, for each way.
fn table_case(name: &str, ways: usize, options: &Options) -> Case {
    let name = format!("struct of large vectors, {name}");
    let case = Case::new(name, Unit::Latency, options.scale(9), move || table_measure(ways));
    case.floor("postcard and a copy", &[Aim::Ratio(1.5)])
}

fn table_measure(ways: usize) -> Measure {
    let bed = Bed::new(Flavor::Spawned);
    let pool = bed.pool(2);
    let table = Table::new();
    let mut copy = vec![0; table.encoded().len()];
    Box::new(move || {
        let reference = timed(1, || {
            for _ in 0..ways {
                copy.copy_from_slice(black_box(&table.encoded()));
                let decoded: Table = postcard::from_bytes(&copy).expect("it can be decoded");
                black_box(decoded);
            }
        });
        let (pool, sent) = (pool.clone(), table.clone());
        let took = bed.run(async move {
            if ways == 1 {
                seconds(pool.run(rows, sent)).await.0
            } else {
                let (took, table) = seconds(pool.run(echo_table, sent)).await;
                assert_eq!(result(table).names.len(), NAMES);
                took
            }
        });
        Block::against(reference, took)
    })
}
