//! Hosts with a real `sshd` (OpenSSH), each a [`Container`].
//!
//! What programs write, and the programs that are tested, are hidden: `/root`, `/tmp` and the
//! directory of this test's build are empty. So nothing gets there but by the network, or by
//! [`Container::root`].

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::container::{Container, NAMESPACES, TRIAL};
use crate::link::{Link, Wiring};
use crate::tools::{Scratch, can_have, run};

const PROGRAMS: [&str; 7] = ["sshd", "ssh", "ssh-keygen", "ip", "unshare", "nsenter", "bash"];

/// Since OpenSSH 9.8 there is a program for each connection.
const SERVICE: [&str; 3] = ["sshd", "sshd-session", "sshd-auth"];

const SCRIPT: &str =
    r#"(chmod 700 /root && exec "$(command -v sshd)" -D -e -f /run/host/sshd_config) &"#;

const SSHD_CONFIG: &str = "\
    HostKey /run/host/host_key\n\
    AuthorizedKeysFile /run/host/authorized_keys\n\
    PidFile none\n\
    UsePAM no\n\
    UseDNS no\n\
    StrictModes no\n\
    PasswordAuthentication no\n\
    PermitRootLogin prohibit-password\n\
    MaxStartups 1000\n\
    MaxSessions 1000\n\
    Subsystem sftp internal-sftp\n";

pub(crate) struct Sshd {
    /// Dropped before the link, which tells others that its connections have ended.
    container: Container,
    link: Link,
    directory: Arc<Scratch>,
}

impl Sshd {
    /// Whether hosts can be started here; if not, it is said why.
    #[track_caller]
    pub(crate) fn is_possible() -> bool {
        can_have("sshd", &PROGRAMS, &[&["unshare"], &NAMESPACES[..], &TRIAL[..]].concat())
    }

    /// Starts a host; `None` where that cannot be done, which has been said.
    #[track_caller]
    pub(crate) fn start(name: &str) -> Option<Self> {
        Self::start_all([name]).map(|[host]| host)
    }

    /// A host whose packets are so late in each direction. See [`delay`](Self::delay).
    #[track_caller]
    pub(crate) fn start_far(name: &str, delay: Duration) -> Option<Self> {
        Self::start_with([name], Wiring::Late(delay)).map(|[host]| host)
    }

    /// Several at the same time, all of which are in the [`config`](Self::config) of each.
    #[track_caller]
    pub(crate) fn start_all<const N: usize>(names: [&str; N]) -> Option<[Self; N]> {
        Self::start_with(names, Wiring::Direct)
    }

    #[track_caller]
    fn start_with<const N: usize>(names: [&str; N], wiring: Wiring) -> Option<[Self; N]> {
        if !Self::is_possible() {
            return None;
        }
        let directory = Arc::new(Scratch::new());
        make_key(&directory.path().join("key"));
        let hosts = std::thread::scope(|scope| {
            let start = |name| {
                let directory = Arc::clone(&directory);
                scope.spawn(move || Self::start_in(name, directory, wiring))
            };
            names.map(start).map(|started| started.join().unwrap())
        });
        for host in &hosts {
            host.add_to_config();
        }
        Some(hosts)
    }

    fn start_in(name: &str, directory: Arc<Scratch>, wiring: Wiring) -> Self {
        let files = directory.path().join(name);
        fs::create_dir(&files).unwrap();
        make_key(&files.join("host_key"));
        fs::copy(directory.path().join("key.pub"), files.join("authorized_keys")).unwrap();
        let test = std::env::current_exe().unwrap();
        let build = test.parent().and_then(Path::parent).unwrap();
        let hidden = [build, Path::new("/root"), Path::new("/tmp")];
        let mut container = Container::start(name, &files, SCRIPT, &SERVICE, &hidden);
        let link = Link::new(&container, wiring);
        let config = format!("{SSHD_CONFIG}ListenAddress {}\n", link.address());
        fs::write(container.root().join("run/host/sshd_config"), config).unwrap();
        container.run("Server listening on");
        Self { container, link, directory }
    }

    fn add_to_config(&self) {
        let file = |name: &str| self.directory.file(name);
        let host_key = fs::read_to_string(file(&format!("{}/host_key.pub", self.name()))).unwrap();
        let append = |name: &str, text: &str| {
            let mut file = File::options().create(true).append(true).open(file(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("known_hosts", &format!("{} {host_key}", self.address()));
        append(
            "config",
            &format!(
                "Host {}\n    HostName {}\n    User root\n    IdentityFile {}\n    \
                 IdentitiesOnly yes\n    IdentityAgent none\n    UserKnownHostsFile {}\n    \
                 GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    \
                 BatchMode yes\n",
                self.name(),
                self.address(),
                file("key"),
                file("known_hosts"),
            ),
        );
    }

    // ----- how it is reached -----

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.link.address()
    }

    /// Where `sshd` listens.
    pub(crate) fn socket(&self) -> SocketAddr {
        (self.address(), 22).into()
    }

    /// The name of the interface on this machine by which it is reached.
    pub(crate) fn interface(&self) -> String {
        self.link.interface()
    }

    /// The file for `ssh -F`, by which the host is reached under its name.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    /// The words of the command that reaches it; what is run there comes behind them.
    pub(crate) fn ssh(&self) -> [String; 4] {
        let config = self.config().to_str().unwrap().to_owned();
        ["ssh".to_owned(), "-F".to_owned(), config, self.name().to_owned()]
    }

    /// A command that is run there by a shell.
    pub(crate) fn command(&self, there: &str) -> Command {
        let [ssh, words @ ..] = self.ssh();
        let mut command = Command::new(ssh);
        command.args(words).arg(there);
        command
    }

    // ----- what can befall it, beside what can befall any container -----

    /// The network loses everything, in both directions, and nobody is told.
    pub(crate) fn drop_packets(&self) {
        self.link.drop_packets();
    }

    /// The network is well again.
    pub(crate) fn pass_packets(&self) {
        self.link.pass_packets();
    }

    /// Makes packets of each direction so late, of a host that was [far](Self::start_far) from the
    /// beginning.
    pub(crate) fn delay(&self, delay: Duration) {
        self.link.delay(delay);
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

impl Deref for Sshd {
    type Target = Container;

    fn deref(&self) -> &Container {
        &self.container
    }
}

fn make_key(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    run(command.args(["-q", "-t", "ed25519", "-N", "", "-C", "procpool", "-f"]).arg(path), "");
}
