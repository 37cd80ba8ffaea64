//! A real Slurm: a controller and nodes, each a [`Container`], behind one bridge.
//!
//! They share this machine's directories, as the nodes of a cluster often do, but not `/dev/shm`.
//! Users are here, where `srun` is run.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use crate::container::{Container, NAMESPACES, TRIAL};
use crate::link::{Link, Wiring};
use crate::tools::{Scratch, can_have, run, run_anyhow, wait_for};

const PROGRAMS: [&str; 10] = [
    "slurmctld",
    "slurmd",
    "srun",
    "salloc",
    "sinfo",
    "munged",
    "ip",
    "unshare",
    "nsenter",
    "bash",
];

/// All have the directory of the cluster in `/run/host/cluster`.
const CONTROLLER: &str = r#"
    cluster=$(</run/host/cluster)
    munged --force --key-file="$cluster/munge.key" --socket="$cluster/munge.sock" \
        --pid-file="$cluster/munged.pid" --log-file="$cluster/munged.log" \
        --seed-file="$cluster/munged.seed"
    SLURM_CONF=$cluster/slurm.conf slurmctld -D &
"#;
const NODE: &str = r#"
    cluster=$(</run/host/cluster)
    SLURM_CONF=$cluster/slurm.conf slurmd -D -N "$(hostname)" &
"#;

/// What does not depend on addresses and names.
const CONFIG: &str = "\
    ClusterName=tests\n\
    SlurmUser=root\n\
    ProctrackType=proctrack/linuxproc\n\
    TaskPlugin=task/none\n\
    JobAcctGatherType=jobacct_gather/none\n\
    MailProg=/bin/true\n\
    MpiDefault=none\n\
    SelectType=select/cons_tres\n\
    SelectTypeParameters=CR_Core\n\
    ReturnToService=2\n\
    InactiveLimit=15\n\
    SlurmdTimeout=30\n\
    SlurmdParameters=config_overrides\n\
    TreeWidth=65533\n";

pub(crate) struct Slurm {
    nodes: Vec<SlurmNode>,
    /// Dropped before the link, as those of the nodes.
    _controller: Container,
    link: Arc<Link>,
    directory: Scratch,
}

impl Slurm {
    /// Starts a cluster with these nodes, each of four CPUs, and waits until all of them are idle;
    /// `None` where that cannot be done, which has been said.
    #[track_caller]
    pub(crate) fn start(names: &[&str]) -> Option<Self> {
        if !can_have("slurm", &PROGRAMS, &[&["unshare"], &NAMESPACES[..], &TRIAL[..]].concat()) {
            return None;
        }
        let directory = Scratch::new();
        fs::create_dir(directory.path().join("state")).unwrap();
        make_munge_key(&directory.path().join("munge.key"));
        let programs: &[_] = &["munged", "slurmctld"];
        let mut controller = container("controller", &directory, CONTROLLER, programs);
        let link = Arc::new(Link::new(&controller, Wiring::Bridge));
        let mut nodes: Vec<_> = (2..)
            .zip(names)
            .map(|(port, name)| SlurmNode::new(name, port, &directory, &link))
            .collect();
        fs::write(directory.path().join("slurm.conf"), config(&directory, &link, &nodes)).unwrap();
        controller.run("Running as primary controller");
        for node in &mut nodes {
            node.container.run("slurmd started on");
        }
        let slurm = Self { nodes, _controller: controller, link, directory };
        slurm.wait_until("idle", names.len());
        Some(slurm)
    }

    /// A command for its users: `srun`, `salloc`, `sbatch`, `squeue`, and so on.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.config());
        command
    }

    /// What `SLURM_CONF` has to be for commands of its users.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("slurm.conf")
    }

    pub(crate) fn node(&self, name: &str) -> &SlurmNode {
        self.nodes.iter().find(|node| node.name() == name).unwrap()
    }

    pub(crate) fn node_mut(&mut self, name: &str) -> &mut SlurmNode {
        self.nodes.iter_mut().find(|node| node.name() == name).unwrap()
    }

    /// Waits until so many nodes have a state, as `sinfo` calls it: `idle`, `alloc`, `down`.
    #[track_caller]
    pub(crate) fn wait_until(&self, state: &str, nodes: usize) {
        wait_for(&format!("{nodes} nodes are {state}"), || {
            let Output { stdout, .. } =
                run_anyhow(self.command("sinfo").args(["-h", "-N", "-o", "%t"]), "");
            let states = String::from_utf8_lossy(&stdout);
            states.lines().filter(|found| *found == state).count() == nodes
        });
    }

    /// Waits until `squeue` knows no job that is not over.
    #[track_caller]
    pub(crate) fn wait_until_empty(&self) {
        wait_for("there is no job", || run(self.command("squeue").arg("-h"), "").is_empty());
    }

    /// What is sent between this machine and the cluster is lost, and nobody is told. The cluster
    /// still has its own network.
    pub(crate) fn drop_packets(&self) {
        self.link.drop_packets();
    }

    pub(crate) fn pass_packets(&self) {
        self.link.pass_packets();
    }
}

pub(crate) struct SlurmNode {
    container: Container,
    link: Arc<Link>,
    port: u32,
    address: Ipv4Addr,
}

impl SlurmNode {
    fn new(name: &str, port: u32, directory: &Scratch, link: &Arc<Link>) -> Self {
        let container = container(name, directory, NODE, &["slurmd", "slurmstepd"]);
        let address = link.add(&container, port);
        Self { container, link: Arc::clone(link), port, address }
    }

    /// Where its `slurmd` listens.
    pub(crate) fn socket(&self) -> SocketAddr {
        (self.address, 6818).into()
    }

    /// The network loses everything from and to this node, and nobody is told.
    pub(crate) fn drop_packets(&self) {
        self.link.pass_at(self.port, false);
    }

    pub(crate) fn pass_packets(&self) {
        self.link.pass_at(self.port, true);
    }

    /// As a machine without power: everything is gone at once, and nobody is told.
    pub(crate) fn kill(&mut self) {
        self.drop_packets();
        self.end_processes();
    }

    /// As a machine that goes down: everything is gone at once, and its connections are closed.
    pub(crate) fn end_processes(&mut self) {
        self.container.end_processes();
    }
}

impl Deref for SlurmNode {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

fn container(
    name: &str,
    directory: &Scratch,
    script: &str,
    service: &'static [&'static str],
) -> Container {
    let files = directory.path().join(name);
    fs::create_dir(&files).unwrap();
    fs::write(files.join("cluster"), directory.path().to_str().unwrap()).unwrap();
    Container::start(name, &files, script, service, &[])
}

fn config(directory: &Scratch, link: &Link, nodes: &[SlurmNode]) -> String {
    let path = directory.path().display();
    let mut lines = vec![
        CONFIG.to_owned(),
        format!("SlurmctldHost=controller({})\nAuthInfo=socket={path}/munge.sock", link.address()),
        format!("StateSaveLocation={path}/state\nSlurmdSpoolDir={path}/spool-%n"),
        format!("SlurmctldPidFile={path}/slurmctld.pid\nSlurmdPidFile={path}/slurmd-%n.pid"),
    ];
    lines.extend(nodes.iter().map(|node| {
        let (name, address) = (node.name(), node.address);
        format!("NodeName={name} NodeAddr={address} CPUs=4 RealMemory=1000")
    }));
    lines.push("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n".to_owned());
    lines.join("\n")
}

fn make_munge_key(path: &Path) {
    let mut key = [0; 128];
    let mut random = fs::File::open("/dev/urandom").unwrap();
    std::io::Read::read_exact(&mut random, &mut key).unwrap();
    fs::write(path, key).unwrap();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(path, readable).unwrap();
}
