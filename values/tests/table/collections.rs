//! Collections, graphs, sets of bits, and short texts.

use arrayvec::{ArrayString, ArrayVec};
use bitvec::prelude::{BitVec, Lsb0, Msb0};
use compact_str::CompactString;
use ecow::{EcoString, EcoVec};
use either::Either;
use fixedbitset::FixedBitSet;
use indexmap::{IndexMap, IndexSet};
use petgraph::graph::Graph;
use petgraph::graphmap::UnGraphMap;
use petgraph::stable_graph::StableGraph;
use roaring::{RoaringBitmap, RoaringTreemap};
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::harness::{Case, by, by_debug, case, equal_only, tests};

tests!(of_maps, of_vectors, of_bits, of_petgraph, of_either, of_texts);

fn of_maps() -> Vec<Case> {
    vec![
        case!("indexmap", IndexMap<String, u32>, "in an order of its own", {
            ["z", "a", "m"].into_iter().map(String::from).zip(0..).collect()
        }),
        case!("indexmap", IndexSet<u64>, "100", (0..100).rev().collect()),
        case!("heapless", heapless::index_map::FnvIndexMap<u8, u16, 8>, "of numbers", {
            [(9, 1), (3, 2)].into_iter().collect()
        }),
    ]
}

fn of_vectors() -> Vec<Case> {
    vec![
        case!("smallvec", SmallVec<[u32; 4]>, "inline", (0..3).collect()),
        case!("smallvec", SmallVec<[u32; 4]>, "spilled", (0..100).collect()),
        case!("arrayvec", ArrayVec<u64, 100>, "100", (0..100).collect()),
        case!("heapless", heapless::Vec<u16, 100>, "100", (0..100).collect()),
        case!("ecow", EcoVec<i32>, "100", (0..100).collect()),
    ]
}

fn every_third(count: u32) -> impl Iterator<Item = bool> {
    (0..count).map(|n| n % 3 == 0)
}

fn of_bits() -> Vec<Case> {
    vec![
        case!("bitvec", BitVec<u8, Lsb0>, "77", every_third(77).collect(), equal_only()),
        case!("bitvec", BitVec<u64, Msb0>, "7,777", every_third(7777).collect(), equal_only()),
        case!(
            "fixedbitset",
            FixedBitSet,
            "some of 1,000",
            {
                let mut bits = FixedBitSet::with_capacity(1000);
                bits.extend([0, 63, 64, 999]);
                bits
            },
            equal_only()
        ),
        case!("roaring", RoaringBitmap, "sparse and dense", (5..70_000).chain([1 << 31]).collect()),
        case!("roaring", RoaringTreemap, "large numbers", [1, 1 << 40].into_iter().collect()),
    ]
}

fn of_petgraph() -> Vec<Case> {
    vec![
        case!(
            "petgraph",
            Graph<String, f64>,
            "three nodes",
            {
                let mut graph = Graph::new();
                let nodes = ["a", "b", "c"].map(|name| graph.add_node(name.to_owned()));
                graph.extend_with_edges([(nodes[0], nodes[1], 0.5), (nodes[2], nodes[0], 1.5)]);
                graph
            },
            by_debug()
        ),
        case!(
            "petgraph",
            StableGraph<u8, ()>,
            "with holes",
            {
                let mut graph = StableGraph::new();
                let nodes = [1, 2, 3, 4].map(|number| graph.add_node(number));
                graph.extend_with_edges([(nodes[0], nodes[1]), (nodes[2], nodes[3])]);
                graph.remove_node(nodes[1]);
                graph
            },
            by_debug()
        ),
        case!(
            "petgraph",
            UnGraphMap<u32, u8>,
            "a triangle",
            UnGraphMap::from_edges([(1, 2, 5), (2, 3, 6), (3, 1, 7)]),
            by(|a: &UnGraphMap<u32, u8>, b| edges(a) == edges(b))
        ),
    ]
}

/// In order, as the map is free to keep them in another one.
fn edges(graph: &UnGraphMap<u32, u8>) -> Vec<(u32, u32, u8)> {
    let edges = graph.all_edges().map(|(a, b, weight)| (a.min(b), a.max(b), *weight));
    let mut edges: Vec<_> = edges.collect();
    edges.sort_unstable();
    edges
}

fn of_either() -> Vec<Case> {
    vec![
        case!("either", Either<u32, String>, "left", Either::Left(5)),
        case!("either", Either<u32, String>, "right", Either::Right("a".to_owned())),
    ]
}

fn of_texts() -> Vec<Case> {
    vec![
        case!("compact_str", CompactString, "inline", "short".into()),
        case!("compact_str", CompactString, "on the heap", "long ".repeat(20).into()),
        case!("smol_str", SmolStr, "inline", "short".into()),
        case!("smol_str", SmolStr, "on the heap", "long ".repeat(20).into()),
        case!("ecow", EcoString, "inline", "short".into()),
        case!("ecow", EcoString, "on the heap", "long ".repeat(20).into()),
        case!("arrayvec", ArrayString<16>, "a text", ArrayString::from("short").unwrap()),
        case!("heapless", heapless::String<16>, "a text", "short".try_into().unwrap()),
    ]
}
