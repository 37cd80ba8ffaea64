//! However deeply values are nested: what is too deep for a stack is an error of its task, on
//! whichever side, and the service goes on.

#![allow(clippy::unwrap_used)] // helpers are not seen as tests
#![allow(clippy::needless_pass_by_value)] // tasks own their arguments

use std::collections::HashMap;

use procpool::{ProcessPoolExecutor, RunError};
use serde::{Deserialize, Serialize};

/// Each element holds the next one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct List {
    value: u8,
    next: Option<Box<List>>,
}

impl List {
    fn new(length: usize) -> Self {
        (1..length).fold(Self::default(), |next, _| Self { value: 7, next: Some(Box::new(next)) })
    }

    fn length(&self) -> usize {
        std::iter::successors(Some(self), |list| list.next.as_deref()).count()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let mut rest = self.next.take();
        while let Some(mut list) = rest {
            rest = list.next.take();
        }
    }
}

/// As JSON is, with lists or with maps in each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Map(HashMap<String, Tree>),
}

/// The same, but known by its form only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Leaf(()),
    List(Vec<Untagged>),
}

impl Tree {
    fn new(depth: usize) -> Self {
        (1..depth).fold(Self::Leaf, |inner, level| match level % 2 {
            0 => Self::List(vec![inner]),
            _ => Self::Map(HashMap::from([("x".to_owned(), inner)])),
        })
    }
}

impl Untagged {
    fn new(depth: usize) -> Self {
        (1..depth).fold(Self::Leaf(()), |inner, _| Self::List(vec![inner]))
    }
}

macro_rules! dropped_without_recursion {
    ($($tree:ident: $self:ident => $inner:expr;)*) => {$(
        impl Drop for $tree {
            fn drop(&mut self) {
                fn inner($self: &mut $tree) -> Vec<$tree> {
                    $inner
                }
                let mut rest = inner(self);
                while let Some(mut tree) = rest.pop() {
                    rest.append(&mut inner(&mut tree));
                }
            }
        }
    )*};
}

dropped_without_recursion! {
    Tree: tree => match tree {
        Tree::Leaf => Vec::new(),
        Tree::List(list) => std::mem::take(list),
        Tree::Map(map) => std::mem::take(map).into_values().collect(),
    };
    Untagged: tree => match tree {
        Untagged::Leaf(()) => Vec::new(),
        Untagged::List(list) => std::mem::take(list),
    };
}

fn take_list(list: List) -> usize {
    list.length()
}

fn make_list(length: usize) -> List {
    List::new(length)
}

fn take_tree(tree: Tree) -> bool {
    tree == Tree::Leaf
}

fn make_tree(depth: usize) -> Tree {
    Tree::new(depth)
}

fn take_untagged(tree: Untagged) -> bool {
    tree == Untagged::Leaf(())
}

fn make_untagged(depth: usize) -> Untagged {
    Untagged::new(depth)
}

procpool::register!(take_list, make_list, take_tree, make_tree, take_untagged, make_untagged);
procpool::register!(echo => named);

fn echo(tree: Tree) -> Tree {
    tree
}

const DEPTHS: [usize; 5] = [2_000, 10_000, 30_000, 100_000, 1_000_000];

/// It says that it is too deep, and how deep it has come.
#[track_caller]
fn assert_too_deep(error: &RunError) {
    let text = error.to_string();
    assert!(error.is_codec() && text.contains("nested too deeply: "), "{text}");
    let levels = text.split("nested too deeply: ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(levels.parse::<usize>().unwrap() > 20, "{text}");
    assert!(text.len() < 1000, "{text}");
}

#[track_caller]
fn assert_fine_or_too_deep<T>(result: Result<T, RunError>, mut is_fine: impl FnMut(T)) {
    match result {
        Ok(value) => is_fine(value),
        Err(error) => assert_too_deep(&error),
    }
}

/// Runs on a thread of tokio's, as tasks of services do.
async fn on_a_worker_thread<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future).await.unwrap()
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_nested_as_most_are_come_back() {
    let pool = pool();
    on_a_worker_thread(async move {
        assert_eq!(pool.run(take_list, List::new(300)).await.unwrap(), 300);
        assert_eq!(pool.run(make_list, 300).await.unwrap().length(), 300);
        assert!(pool.run(make_tree, 120).await.unwrap() == Tree::new(120));
        assert!(pool.run(echo, Tree::new(120)).await.unwrap() == Tree::new(120));
        assert!(pool.run(make_untagged, 60).await.unwrap() == Untagged::new(60));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_are_too_deep_are_an_error() {
    let pool = pool();
    on_a_worker_thread(async move {
        for depth in DEPTHS {
            let taken = pool.run(take_list, List::new(depth)).await;
            assert_fine_or_too_deep(taken, |length| assert_eq!(length, depth));
            assert_fine_or_too_deep(pool.run(take_tree, Tree::new(depth)).await, drop);
            assert_fine_or_too_deep(pool.run(echo, Tree::new(depth)).await, drop);
            assert_fine_or_too_deep(pool.run(take_untagged, Untagged::new(depth)).await, drop);
        }
        assert_too_deep(&pool.run(take_list, List::new(1_000_000)).await.unwrap_err());
        assert_too_deep(&pool.run(take_untagged, Untagged::new(1_000)).await.unwrap_err());
        assert!(pool.run(take_tree, Tree::Leaf).await.unwrap());
        assert_eq!(pool.stats().outcomes.worker_died, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_too_deep_are_an_error() {
    let pool = pool();
    on_a_worker_thread(async move {
        for depth in DEPTHS {
            let made = pool.run(make_list, depth).await;
            assert_fine_or_too_deep(made, |list| assert_eq!(list.length(), depth));
            assert_fine_or_too_deep(pool.run(make_tree, depth).await, drop);
            assert_fine_or_too_deep(pool.run(make_untagged, depth).await, drop);
        }
        assert_too_deep(&pool.run(make_list, 1_000_000).await.unwrap_err());
        assert_eq!(pool.run(take_list, List::new(1)).await.unwrap(), 1);
        assert_eq!(pool.stats().outcomes.worker_died, 0);
    })
    .await;
}

#[tokio::test]
async fn a_map_goes_on_behind_an_item_that_is_too_deep() {
    use futures::StreamExt;

    let pool = pool();
    let inputs: [usize; 3] = [1, 1_000_000, 2];
    let results: Vec<_> = pool.map(make_list, inputs).collect().await;
    assert_eq!(results[0].as_ref().unwrap().length(), 1);
    assert!(results[1].as_ref().unwrap_err().is_codec());
    assert_eq!(results[2].as_ref().unwrap().length(), 2);
}

/// Threads may have stacks that are smaller than those of tokio.
#[test]
fn a_small_stack_takes_less() {
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let on_small = small.spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = pool();
            for depth in DEPTHS {
                assert_fine_or_too_deep(pool.run(make_list, depth).await, drop);
                assert_fine_or_too_deep(pool.run(take_tree, Tree::new(depth)).await, drop);
            }
        });
    });
    on_small.unwrap().join().unwrap();
}
