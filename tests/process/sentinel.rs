//! A descriptor that tells of the end of a process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use procpool::{Process, Sentinel};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::unix::AsyncFd;

use crate::common::{Gate, Held, hold, in_time, pid};

async fn holding(gate: &Gate) -> (Process, Held) {
    let process = Process::new(hold, gate.port());
    in_time(process.start()).await.unwrap();
    (process, gate.arrival().await)
}

/// Whether a descriptor becomes readable within this.
fn readable_within(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut fds, Some(&limit)).unwrap();
    fds[0].revents().contains(PollFlags::IN)
}

fn is_ready(fd: &impl AsFd) -> bool {
    readable_within(fd.as_fd(), Duration::ZERO)
}

#[tokio::test]
async fn it_is_ready_from_the_end_on_and_not_before() {
    // scenario 84
    let gate = Gate::new().await;
    let process = Process::new(hold, gate.port());
    assert!(process.sentinel().unwrap_err().is_not_started());
    in_time(process.start()).await.unwrap();
    let held = gate.arrival().await;
    let sentinel = process.sentinel().unwrap();
    assert!(!is_ready(&sentinel) && !is_ready(&process.sentinel().unwrap()));
    drop(held);
    in_time(process.join()).await.unwrap();
    assert!(is_ready(&sentinel) && is_ready(&process.sentinel().unwrap()));
    in_time(sentinel).await;
}

#[tokio::test]
async fn it_is_awaited_in_a_select() {
    // scenario 84
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    let mut sentinel = process.sentinel().unwrap();
    tokio::select! {
        () = &mut sentinel => panic!("it is held"),
        () = tokio::time::sleep(Duration::from_millis(20)) => {}
    }
    drop(held);
    tokio::select! {
        () = &mut sentinel => {}
        () = tokio::time::sleep(crate::common::LIMIT) => panic!("nothing came"),
    }
    assert_eq!((process.is_alive(), process.exitcode()), (false, Some(0)));
    in_time(&mut sentinel).await;
}

#[tokio::test]
async fn it_is_a_descriptor_for_tokio() {
    // scenario 84
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    #[allow(deprecated, reason = "what has taken its place is `unsafe`")]
    let watched = AsyncFd::new(process.sentinel().unwrap()).unwrap();
    drop(held);
    drop(in_time(watched.readable()).await.unwrap());
    assert_eq!((process.is_alive(), process.exitcode()), (false, Some(0)));
}

#[tokio::test]
async fn it_is_a_descriptor_for_poll_and_needs_no_runtime() {
    // scenario 84
    let ends: [fn(Held, &Process); 2] =
        [|held, _| drop(held), |_held, process| process.terminate().unwrap()];
    for end in ends {
        let gate = Gate::new().await;
        let (process, held) = holding(&gate).await;
        let sentinel = process.sentinel().unwrap();
        assert!(!readable_within(sentinel.as_fd(), Duration::from_millis(20)));
        end(held, &process);
        // This blocks the runtime, so nobody but the system can know.
        assert!(readable_within(sentinel.as_fd(), crate::common::LIMIT));
        assert!(!process.is_alive());
        let code = process.exitcode().unwrap();
        assert!(matches!(code, 0 | -15), "{code}");
        assert!(!procpool::active_children().iter().any(|child| child.pid() == process.pid()));
        process.close().unwrap(); // what is left to be done is done all the same
        assert_eq!((process.is_alive(), process.exitcode()), (false, Some(code)));
    }
}

#[tokio::test]
async fn there_may_be_many_and_they_outlive_the_process_object() {
    let gate = Gate::new().await;
    let (process, held) = holding(&gate).await;
    let sentinel = process.sentinel().unwrap();
    let clone = sentinel.try_clone().unwrap();
    assert_ne!(sentinel.as_raw_fd(), clone.as_raw_fd());
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(process.sentinel().unwrap())).collect();
    drop((process, sentinel));
    assert!(!is_ready(&clone));
    drop(held);
    in_time(clone).await;
    for waiting in waiting {
        in_time(waiting).await.unwrap();
    }
}

#[tokio::test]
async fn those_of_closed_processes_stay_open() {
    let process = Process::new(pid, ());
    in_time(process.start()).await.unwrap();
    let sentinel = process.sentinel().unwrap();
    in_time(process.join()).await.unwrap();
    process.close().unwrap();
    assert!(process.sentinel().unwrap_err().is_closed());
    assert!(is_ready(&sentinel));
    in_time(sentinel).await;
}

#[test]
fn it_needs_no_runtime_once_the_process_has_ended() {
    use futures::FutureExt;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let process = Process::new(pid, ());
    let mut sentinels: Vec<Sentinel> = Vec::new();
    runtime.block_on(async {
        in_time(process.start()).await.unwrap();
        sentinels.push(process.sentinel().unwrap());
        in_time(process.join()).await.unwrap();
        sentinels.push(process.sentinel().unwrap());
    });
    drop(runtime);
    for sentinel in sentinels {
        sentinel.now_or_never().unwrap();
    }
}

#[test]
fn it_outlives_the_runtime_that_it_was_awaited_on() {
    let first = tokio::runtime::Runtime::new().unwrap();
    let (process, held) = first.block_on(async {
        let gate = Gate::new().await;
        holding(&gate).await
    });
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut sentinel = process.sentinel().unwrap();
    other.block_on(async {
        tokio::select! {
            () = &mut sentinel => panic!("it is held"),
            () = tokio::task::yield_now() => {}
        }
    });
    drop(other);
    first.block_on(async {
        let ended = tokio::spawn(sentinel);
        tokio::task::yield_now().await;
        drop(held);
        in_time(ended).await.unwrap();
    });
}
