//! What the Slurm of these tests can do and suffer, without any pool.

use std::io::ErrorKind;
use std::net::TcpStream;

use crate::common::process_gone;
use crate::echo::{Echo, SHORT};
use crate::slurm::{Slurm, SlurmNode};
use crate::tools::run;

fn echo(slurm: &Slurm, node: &str) -> Echo {
    Echo::of(slurm.command("srun").args(["--unbuffered", "-w", node, "cat"]))
}

fn cats(node: &SlurmNode) -> Vec<u32> {
    let all = node.processes().into_iter();
    all.filter(|process| process.command.ends_with("cat")).map(|process| process.pid).collect()
}

fn connect(node: &SlurmNode) -> Result<(), ErrorKind> {
    let connected = TcpStream::connect_timeout(&node.socket(), SHORT);
    connected.map(drop).map_err(|error| error.kind())
}

#[test]
fn steps_run_on_nodes_inside_of_an_allocation_and_without() {
    let Some(slurm) = Slurm::start(&["n1", "n2", "n3"]) else {
        return;
    };
    let script = "hostname; ls -A /dev/shm; echo > /dev/shm/mine";
    for before in [&[][..], &["salloc", "-N2", "-w", "n[1-2]"]] {
        let words = [before, &["srun", "-N2", "-l", "sh", "-c", script]].concat();
        let said = run(slurm.command(words[0]).args(&words[1..]), "");
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        let first_time = before.is_empty();
        let expected = ["0: mine", "0: n1", "1: mine", "1: n2"];
        let expected = expected.into_iter().filter(|line| !first_time || !line.ends_with("mine"));
        assert_eq!(lines, expected.collect::<Vec<_>>());
    }
    slurm.wait_until_empty();
    slurm.wait_until("idle", 3);
}

#[test]
fn processes_of_a_node_are_seen_from_outside_and_end_with_it() {
    let Some(mut slurm) = Slurm::start(&["n1", "n2"]) else {
        return;
    };
    let mut client = echo(&slurm, "n1");
    let cats = cats(slurm.node("n1"));
    assert_eq!(cats.len(), 1);
    assert!(slurm.node("n2").processes().is_empty());
    slurm.node_mut("n1").end_processes();
    assert!(process_gone(cats[0]));
    assert_eq!(connect(slurm.node("n1")), Err(ErrorKind::ConnectionRefused));
    assert!(client.is_silent(), "srun waits until the controller says that the node is down");
    drop(echo(&slurm, "n2"));
}

#[test]
fn the_network_of_a_node_and_that_of_the_cluster_are_lost_in_silence() {
    let Some(slurm) = Slurm::start(&["n1", "n2"]) else {
        return;
    };
    let (mut first, mut second) = (echo(&slurm, "n1"), echo(&slurm, "n2"));
    slurm.node("n1").drop_packets();
    first.say("anybody?");
    second.say("you?");
    assert_eq!(second.answer(), "you?");
    assert!(first.is_silent());
    slurm.node("n1").pass_packets();
    assert_eq!(first.answer(), "anybody?");
    slurm.drop_packets();
    second.say("and now?");
    assert!(second.is_silent());
    slurm.pass_packets();
    assert_eq!(second.answer(), "and now?");
}

#[test]
fn a_frozen_node_and_a_killed_one_are_silent() {
    let Some(mut slurm) = Slurm::start(&["n1", "n2"]) else {
        return;
    };
    let (mut first, mut second) = (echo(&slurm, "n1"), echo(&slurm, "n2"));
    slurm.node("n1").freeze();
    first.say("anybody?");
    let cats = cats(slurm.node("n2"));
    slurm.node_mut("n2").kill();
    assert!(process_gone(cats[0]));
    assert_eq!(connect(slurm.node("n2")), Err(ErrorKind::TimedOut));
    assert!(first.is_silent());
    assert_eq!(connect(slurm.node("n1")), Ok(()), "its kernel still accepts");
    slurm.node("n1").thaw();
    assert_eq!(first.answer(), "anybody?");
    second.say("anybody?");
    assert!(second.is_silent(), "somebody has told srun");
}
