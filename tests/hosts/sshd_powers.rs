//! What the hosts of these tests can do and suffer, without any pool.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::process_gone;
use crate::echo::{Echo, SHORT};
use crate::sshd::Sshd;
use crate::tools::{run, wait_for};

fn echo(host: &Sshd) -> Echo {
    Echo::of(&mut host.command("exec tee heard"))
}

fn tees(host: &Sshd) -> Vec<u32> {
    let all = host.processes().into_iter();
    all.filter(|process| process.command == "tee heard").map(|process| process.pid).collect()
}

fn connect(host: &Sshd) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&host.socket(), SHORT)
}

/// What `sshd` says first, if it says something soon.
fn banner(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut said = [0; 7];
    stream.set_read_timeout(Some(SHORT)).unwrap();
    stream.read_exact(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn hosts_side_by_side_share_nothing_that_is_written() {
    let Some([first, second]) = Sshd::start_all(["node1", "node2"]) else {
        return;
    };
    let test = std::env::current_exe().unwrap();
    let there = format!(
        "hostname; ls -A ~ /tmp /dev/shm; test -e {} || echo no test; echo > ~/mine; ls -A ~",
        test.display()
    );
    for host in [&first, &second] {
        let said = run(&mut host.command(&there), "");
        let expected = format!("{}\n/dev/shm:\n\n/root:\n\n/tmp:\nno test\nmine\n", host.name());
        assert_eq!(said, expected);
        assert!(host.root().join("root/mine").exists());
    }
    // Both are in the configuration of each.
    let [ssh, file, config, _] = first.ssh();
    let said = run(Command::new(ssh).args([&file, &config, second.name(), "hostname"]), "");
    assert_eq!(said, "node2\n");
}

#[test]
fn processes_of_a_host_are_seen_from_outside_and_end_with_it() {
    let Some(host) = Sshd::start("node1") else {
        return;
    };
    assert_eq!(tees(&host), []);
    let mut echo = echo(&host);
    let tees = tees(&host);
    assert_eq!(tees.len(), 1);
    let interface = format!("/sys/class/net/{}", host.interface());
    assert!(std::fs::exists(&interface).unwrap());
    drop(host);
    assert!(process_gone(tees[0]));
    assert!(!std::fs::exists(&interface).unwrap());
    assert_eq!(echo.end(), Some(255), "ssh has seen the end of its connection");
}

/// The test below runs this in a process of its own, which it kills.
#[test]
#[ignore = "it waits until it is killed"]
fn a_test_that_is_killed() {
    let host = Sshd::start("node1").unwrap();
    let _echo = echo(&host);
    std::fs::remove_dir_all(host.config().parent().unwrap()).unwrap(); // nobody will do so later
    println!("\nhost {}", host.init());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_host_ends_with_its_test_even_if_that_is_killed() {
    if !Sshd::is_possible() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "sshd_powers::a_test_that_is_killed"]);
    let mut killed = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(killed.stdout.take().unwrap()).lines().map_while(Result::ok);
    let host = lines.find_map(|line| line.strip_prefix("host ")?.parse().ok()).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_for("the host has ended", || process_gone(host));
}

#[test]
fn a_lost_network_is_silent_in_both_directions() {
    let Some(host) = Sshd::start("node1") else {
        return;
    };
    let mut echo = echo(&host);
    host.freeze();
    let mut stream = connect(&host).unwrap();
    host.drop_packets();
    host.thaw();
    assert_eq!(banner(&mut stream).unwrap_err().kind(), ErrorKind::WouldBlock);
    echo.say("anybody?");
    assert_eq!(connect(&host).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(std::fs::read_to_string(host.root().join("root/heard")).unwrap(), "hello\n");
    host.pass_packets();
    assert_eq!(echo.answer(), "anybody?");
    wait_for("sshd is heard", || banner(&mut stream).is_ok_and(|said| said == "SSH-2.0"));
}

#[test]
fn a_frozen_host_accepts_connections_and_says_nothing() {
    let Some(host) = Sshd::start("node1") else {
        return;
    };
    let mut echo = echo(&host);
    host.freeze();
    echo.say("anybody?");
    let mut stream = connect(&host).unwrap();
    assert_eq!(banner(&mut stream).unwrap_err().kind(), ErrorKind::WouldBlock);
    host.thaw();
    assert_eq!(echo.answer(), "anybody?");
    wait_for("sshd speaks", || banner(&mut stream).is_ok_and(|said| said == "SSH-2.0"));
}

#[test]
fn a_killed_host_is_gone_in_silence() {
    let Some(mut host) = Sshd::start("node1") else {
        return;
    };
    let mut echo = echo(&host);
    let tees = tees(&host);
    host.kill();
    assert!(process_gone(tees[0]));
    assert!(host.processes().is_empty());
    assert_eq!(connect(&host).unwrap_err().kind(), ErrorKind::TimedOut);
    echo.say("anybody?");
    assert!(echo.is_silent(), "somebody has told ssh");
}

#[test]
fn packets_of_a_far_host_are_late() {
    let delay = Duration::from_millis(40);
    let Some(host) = Sshd::start_far("node1", delay) else {
        return;
    };
    let round_trip = || {
        let began = Instant::now();
        connect(&host).unwrap();
        began.elapsed()
    };
    assert!(round_trip() >= 2 * delay);
    host.delay(Duration::ZERO);
    wait_for("it is near", || round_trip() < 2 * delay);
    // More than fits into a packet, in both directions.
    let much = "0123456789abcdef\n".repeat(10_000);
    assert!(run(&mut host.command("exec cat"), &much) == much);
    host.drop_packets();
    assert_eq!(connect(&host).unwrap_err().kind(), ErrorKind::TimedOut);
    host.pass_packets();
    wait_for("it is back", || connect(&host).is_ok());
}
