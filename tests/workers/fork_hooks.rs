//! Hooks around the forks of a server.

#![cfg(target_os = "linux")]
#![allow(clippy::needless_pass_by_value, reason = "tasks own their arguments")]

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher;
use std::time::Duration;

use procpool::{BrokenProcessPool, Builder, ProcessPoolExecutor, StartMethod, WorkerOutput};

use crate::common::{in_time, panic_now, pid, process_gone};
use crate::journal::{Journal, note_line};

fn forked() -> Builder {
    let builder = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer);
    builder.max_workers(1).worker_output(WorkerOutput::Null).env("RUST_BACKTRACE", "0")
}

thread_local! {
    /// Of a generator that gives each number that follows.
    static NEXT: Cell<u64> = const { Cell::new(0) };
    static CALLED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn draw() -> u64 {
    NEXT.replace(NEXT.get() + 1)
}

fn reseed() {
    NEXT.set(u64::from(std::process::id()) << 32);
}

/// In this process.
fn call(name: String) {
    CALLED.with_borrow_mut(|called| called.push(name));
}

async fn call_later(name: String) {
    tokio::task::yield_now().await;
    call(name);
}

fn called() -> Vec<String> {
    CALLED.with_borrow(Clone::clone)
}

fn note(path: String, name: String) {
    note_line(&path, &format!("{name} in {}", std::process::id()));
}

fn preloaded_value() -> u64 {
    *procpool::preloaded::<u64>().unwrap()
}

fn check_preload(expected: u64) {
    assert_eq!(preloaded_value(), expected);
}

fn fail() -> Result<(), String> {
    Err("no lock is to be had".to_owned())
}

fn leave_a_thread() {
    std::thread::spawn(|| std::thread::park_timeout(Duration::from_secs(60)));
}

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

procpool::register!(draw, reseed, call, call_later, called, note, check_preload, fail);
procpool::register!(leave_a_thread, parent, preloaded_value);

fn text(text: &str) -> String {
    text.to_owned()
}

// ----- in the worker -----

#[tokio::test]
async fn a_hook_mends_what_the_fork_has_duplicated() {
    let pool = forked().preload(draw, ()).max_tasks_per_child(1).build().unwrap();
    let first = in_time(pool.run(draw, ())).await.unwrap();
    assert_eq!(first, in_time(pool.run(draw, ())).await.unwrap(), "without it they are the same");
    let builder = forked().preload(draw, ()).max_tasks_per_child(1).after_fork(reseed, ());
    let pool = builder.build().unwrap();
    let first = in_time(pool.run(draw, ())).await.unwrap();
    assert_ne!(first, in_time(pool.run(draw, ())).await.unwrap());
}

#[tokio::test]
async fn hooks_run_once_in_their_order_before_the_initializer() {
    let builder = forked().max_tasks_per_child(2).preload(draw, ());
    let builder = builder.initializer(call, text("initializer")).after_fork(call, text("first"));
    let builder = builder.after_fork(call_later, text("second")).after_fork(check_preload, 0);
    let pool = builder.after_fork(call, text("third")).build().unwrap();
    for _ in 0..4 {
        let called = in_time(pool.run(called, ())).await.unwrap();
        assert_eq!(called, ["first", "second", "third", "initializer"]);
    }
}

#[tokio::test]
async fn nothing_is_forked_by_spawn_and_no_hook_is_called() {
    let builder = forked().start_method(StartMethod::Spawn).initializer(call, text("initializer"));
    let builder = builder.after_fork(panic_now, ()).before_fork(panic_now, ());
    let pool = builder.after_fork_in_parent(panic_now, ()).build().unwrap();
    assert_eq!(in_time(pool.run(called, ())).await.unwrap(), ["initializer"]);
}

#[tokio::test]
async fn large_arguments_of_all_that_is_called_find_their_way() {
    let large = |letter: char| String::from(letter).repeat(3 << 20);
    let builder = forked().preload(call, large('p')).after_fork(call, large('a'));
    let builder = builder.before_fork(call, large('b')).initializer(call, large('i'));
    let pool = builder.after_fork(call, text("")).build().unwrap();
    let called = in_time(pool.run(called, ())).await.unwrap();
    let letters: Vec<_> = called.iter().map(|text| (text.chars().next(), text.len())).collect();
    let some = |letter| (Some(letter), 3 << 20);
    assert_eq!(letters, [some('p'), some('b'), some('a'), (None, 0), some('i')]);
}

fn unregistered() {}

#[tokio::test]
async fn a_hook_must_be_registered() {
    let error = forked().after_fork(unregistered, ()).build().unwrap_err();
    assert!(error.to_string().contains("workers::fork_hooks::unregistered"), "{error}");
}

/// The keys of this thread's maps, which are random.
fn hash() -> u64 {
    std::collections::hash_map::RandomState::new().hash_one("a text")
}

fn hash_aside() -> u64 {
    std::thread::spawn(hash).join().unwrap()
}

procpool::register!(hash, hash_aside);

// As the guide says.
#[tokio::test]
async fn what_a_thread_has_that_ended_before_the_fork_is_not_duplicated() {
    let builder = || forked().max_tasks_per_child(1);
    let pool = builder().preload(hash, ()).build().unwrap();
    let first = in_time(pool.run(hash, ())).await.unwrap();
    assert_eq!(first, in_time(pool.run(hash, ())).await.unwrap());
    let pool = builder().preload(hash_aside, ()).build().unwrap();
    let first = in_time(pool.run(hash, ())).await.unwrap();
    assert_ne!(first, in_time(pool.run(hash, ())).await.unwrap());
}

// ----- in the server -----

#[tokio::test]
async fn hooks_surround_each_fork_in_the_order_of_python() {
    let journal = Journal::new();
    let hook = |name: &str| (journal.path(), text(name));
    let builder = forked().max_tasks_per_child(1).surge(0);
    let builder = builder.before_fork(note, hook("first before"));
    let builder = builder.before_fork(note, hook("second before"));
    let builder = builder.after_fork_in_parent(note, hook("first after"));
    let pool = builder.after_fork_in_parent(note, hook("second after")).build().unwrap();
    let server = in_time(pool.run(parent, ())).await.unwrap();
    assert_eq!(in_time(pool.run(parent, ())).await.unwrap(), server);
    in_time(pool.shutdown()).await;
    let names = ["second before", "first before", "first after", "second after"];
    let expected: Vec<_> = names.iter().map(|name| format!("{name} in {server}")).collect();
    assert_eq!(journal.lines(), [&expected[..], &expected].concat());
}

// ----- failures -----

async fn failure(builder: Builder) -> BrokenProcessPool {
    let pool = builder.build().unwrap();
    let error = in_time(pool.run(pid, ())).await.unwrap_err();
    let broken = error.broken().unwrap_or_else(|| panic!("{error}")).clone();
    in_time(pool.shutdown()).await;
    assert!(process_gone(broken.pid().unwrap()));
    broken
}

#[tokio::test]
async fn a_hook_that_fails_is_a_failed_start_and_is_named() {
    let fine = || forked().after_fork(call, text("fine")).before_fork(call, text("fine"));
    let cases = [
        (fine().after_fork(fail, ()), "after_fork", "in a worker "),
        (fine().before_fork(fail, ()), "before_fork", "in the fork server "),
        (fine().after_fork_in_parent(fail, ()), "after_fork_in_parent", "in the fork server "),
    ];
    for (builder, stage, place) in cases {
        let broken = failure(builder).await;
        assert!(broken.is_fork_hook_failure() && !broken.is_initializer_failure(), "{broken}");
        let text = broken.to_string();
        let named = format!("the `{stage}` hook `workers::fork_hooks::fail` failed {place}");
        assert!(text.contains(&named), "{text}");
        assert!(text.contains("no lock is to be had"), "{text}");
    }
}

#[tokio::test]
async fn a_hook_that_panics_is_a_failed_start_and_is_named() {
    let cases = [
        (forked().after_fork(panic_now, ()), "after_fork"),
        (forked().before_fork(panic_now, ()), "before_fork"),
        (forked().after_fork_in_parent(panic_now, ()), "after_fork_in_parent"),
    ];
    for (builder, stage) in cases {
        let text = failure(builder).await.to_string();
        let named = format!("the `{stage}` hook `workers::common::panic_now` panicked: now (at ");
        assert!(text.contains(&named), "{text}");
    }
}

#[tokio::test]
async fn a_hook_that_does_not_end_is_suspected() {
    let hangs = || forked().after_fork(hang, ()).start_timeout(Duration::from_secs(2));
    let with_initializer = hangs().initializer(call, text("initializer"));
    let (alone, either) = futures::join!(failure(hangs()), failure(with_initializer));
    let expected = "its `after_fork` hooks did not end";
    assert!(alone.to_string().contains(expected), "{alone}");
    let expected = "its `after_fork` hooks, or its initializer, did not end";
    assert!(either.to_string().contains(expected), "{either}");
}

fn hang() {
    loop {
        std::thread::park();
    }
}

procpool::register!(hang);

#[tokio::test]
async fn a_server_takes_no_hook_that_would_spoil_its_forks() {
    let broken = failure(forked().before_fork(leave_a_thread, ())).await;
    assert!(broken.is_fork_hook_failure() && !broken.is_preload_failure(), "{broken}");
    assert!(broken.to_string().contains("its hooks have left threads behind (1)"), "{broken}");
    let broken = failure(forked().before_fork(call_later, "late".to_owned())).await;
    assert!(broken.is_fork_hook_failure(), "{broken}");
    assert!(broken.to_string().contains("it is `async`, and no runtime can be forked"), "{broken}");
}

/// Every other time.
fn fail_at_times(path: String) -> Result<(), String> {
    note_line(&path, "1");
    let calls = std::fs::read_to_string(&path).unwrap().lines().count();
    if calls.is_multiple_of(2) { Err("not now".to_owned()) } else { Ok(()) }
}

procpool::register!(fail_at_times);

#[tokio::test]
async fn a_hook_that_fails_later_is_tried_again_by_the_same_server() {
    let journal = Journal::new();
    let hook = journal.path();
    let cases = [
        forked().before_fork(fail_at_times, hook.clone()),
        forked().after_fork_in_parent(fail_at_times, hook.clone()),
        forked().after_fork(fail_at_times, hook),
    ];
    for builder in cases {
        let pool = builder.max_tasks_per_child(1).build().unwrap();
        let server = in_time(pool.run(parent, ())).await.unwrap();
        for _ in 0..2 {
            assert_eq!(in_time(pool.run(parent, ())).await.unwrap(), server);
        }
        assert!(pool.stats().start_failures > 0);
        in_time(pool.shutdown()).await;
        std::fs::write(journal.path(), "").unwrap();
    }
}
