//! Hosts that OpenSSH reaches, and how this program gets there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use procpool::{Builder, Host, ProcessPoolExecutor};

use crate::common::{in_time, process_gone};
use crate::sshd::Sshd;
use crate::tools::run;

fn triple(n: u64) -> u64 {
    n * 3
}

fn own_program() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_owned()
}

procpool::register!(triple, own_program);

fn host(sshd: &Sshd, workers: usize) -> Host {
    Host::ssh(sshd.name()).workers(workers).ssh_options(["-F".into(), sshd.config()])
}

fn builder(sshd: &Sshd, workers: usize) -> Builder {
    ProcessPoolExecutor::builder().hosts([host(sshd, workers)])
}

fn cache(sshd: &Sshd) -> PathBuf {
    sshd.root().join("root/.cache/procpool")
}

/// What is in the cache, by name.
fn cached(sshd: &Sshd) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache(sshd)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The agent, and the workers, that run there.
fn ours(sshd: &Sshd) -> Vec<u32> {
    let all = sshd.processes().into_iter();
    all.filter(|process| process.command.contains("procpool_worker")).map(|it| it.pid).collect()
}

async fn refused(host: Host) -> String {
    let pool = ProcessPoolExecutor::builder().hosts([host]).build().unwrap();
    let error = in_time(pool.run(triple, 1)).await.unwrap_err();
    assert!(error.is_broken(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn the_program_gets_there_by_itself_and_once() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let mut before = None;
    for _ in 0..2 {
        let pool = builder(&sshd, 2).build().unwrap();
        assert_eq!(in_time(pool.run(triple, 14)).await.unwrap(), 42);
        let program = in_time(pool.run(own_program, ())).await.unwrap();
        in_time(pool.shutdown()).await;
        let [file] = &cached(&sshd)[..] else { panic!("{:?}", cached(&sshd)) };
        assert!(program.starts_with("/root/.cache/procpool/"), "{program}");
        assert!(program.ends_with(file.file_name().unwrap().to_str().unwrap()), "{program}");
        let about = file.metadata().unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o700);
        assert_eq!(about.len(), std::env::current_exe().unwrap().metadata().unwrap().len());
        assert_eq!(*before.get_or_insert(about.ino()), about.ino());
    }
    assert_eq!(cache(&sshd).metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(ours(&sshd), [0; 0]);
}

#[tokio::test]
async fn several_services_may_bring_it_at_the_same_time() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let pools = [(); 3].map(|()| builder(&sshd, 1).build().unwrap());
    let runs = pools.each_ref().map(|pool| pool.run(triple, 2));
    for run in in_time(futures::future::join_all(runs)).await {
        assert_eq!(run.unwrap(), 6);
    }
    for pool in pools {
        in_time(pool.shutdown()).await;
    }
    assert_eq!(cached(&sshd).len(), 1);
}

#[tokio::test]
async fn what_is_left_of_an_upload_is_not_started_and_old_programs_go() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let pool = builder(&sshd, 1).build().unwrap();
    in_time(pool.run(triple, 1)).await.unwrap();
    in_time(pool.shutdown()).await;
    let [file] = &cached(&sshd)[..] else { panic!("{:?}", cached(&sshd)) };
    fs::File::options().write(true).open(file).unwrap().set_len(1_000).unwrap();
    for number in 0_u32..12 {
        let path = cache(&sshd).join(format!("{number:032x}"));
        fs::write(&path, "").unwrap();
        let age = Duration::from_secs(u64::from(100 + number));
        let old = fs::File::options().write(true).open(path).unwrap();
        old.set_modified(SystemTime::now() - age).unwrap();
    }
    let pool = builder(&sshd, 1).build().unwrap();
    assert_eq!(in_time(pool.run(triple, 1)).await.unwrap(), 3);
    in_time(pool.shutdown()).await;
    let left = cached(&sshd);
    assert_eq!(left.len(), 8, "{left:?}");
    let names: Vec<_> = left.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert!(names.contains(&file.file_name().unwrap().to_owned()));
    assert!(names.contains(&format!("{:032x}", 6).into()), "the youngest stay: {names:?}");
    assert!(!names.contains(&format!("{:032x}", 7).into()), "the oldest go: {names:?}");
}

#[tokio::test]
async fn a_program_may_be_there_already() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let there = sshd.root().join("run/it's a program");
    let own = std::env::current_exe().unwrap();
    run(std::process::Command::new("cp").args([&own, &there]), "");
    let words = ["/run/it's a program", "procpool_worker", "--exact", "--nocapture", "--"];
    let named = host(&sshd, 1).program(words);
    let pool = ProcessPoolExecutor::builder().hosts([named]).build().unwrap();
    let program = in_time(pool.run(own_program, ())).await.unwrap();
    assert_eq!(program, "/run/it's a program");
    in_time(pool.shutdown()).await;
    assert!(!cache(&sshd).exists());
}

#[tokio::test]
async fn a_cache_of_another_user_is_refused_and_another_place_can_be_chosen() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let (elsewhere, others) = (sshd.root().join("run/mine"), sshd.root().join("run/others"));
    fs::create_dir(&others).unwrap();
    chown(&others, Some(1), Some(1)).unwrap();
    let text = refused(host(&sshd, 1).cache("/run/others")).await;
    assert!(text.contains("/run/others belongs to another user"), "{text}");
    let chosen = host(&sshd, 1).cache("/run/mine");
    let pool = ProcessPoolExecutor::builder().hosts([chosen]).build().unwrap();
    assert_eq!(in_time(pool.run(triple, 3)).await.unwrap(), 9);
    in_time(pool.shutdown()).await;
    assert_eq!(elsewhere.read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_says_what_ssh_said() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let options = ["-F".into(), sshd.config(), "-p".into(), "1".into()];
    let text = refused(host(&sshd, 1).ssh_options(options)).await;
    assert!(text.contains("the host \"node1\" cannot be reached: `ssh` has ended with"), "{text}");
    assert!(text.contains("port 1: Connection refused"), "{text}");
}

#[tokio::test]
async fn nothing_is_left_there_when_the_pool_ends_without_a_shutdown() {
    let Some(sshd) = Sshd::start("node1") else { return };
    let pool = builder(&sshd, 2).build().unwrap();
    in_time(pool.run(triple, 1)).await.unwrap();
    let there = ours(&sshd);
    assert!(there.len() >= 2, "the agent, and a worker: {there:?}");
    drop(pool);
    for pid in there {
        crate::common::wait_until("it is gone", || process_gone(pid)).await;
    }
}
