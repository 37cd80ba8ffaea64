//! Hosts with a real `sshd` (OpenSSH), each in namespaces of its own: of processes, mounts, network,
//! IPC and names.
//!
//! A host shares the root directory with this machine, but what programs write, and the programs
//! that are tested, are hidden: `/root`, `/tmp`, `/run`, `/dev/shm` and the directory of this
//! test's build are empty. So nothing gets there but by the network, or [`Sshd::root`].
//!
//! It ends with its first process: when the test says so, or is gone, so that its pipe ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::kill;
use crate::link::Link;
use crate::tools::{Scratch, can_have, find, run, wait_for};

const PROGRAMS: [&str; 7] = ["sshd", "ssh", "ssh-keygen", "ip", "unshare", "nsenter", "bash"];
const NAMESPACES: [&str; 7] =
    ["--pid", "--fork", "--kill-child", "--mount", "--net", "--ipc", "--uts"];

/// What the first process of a host does. `$1` is its files, `$2` its name, the rest is hidden.
const INIT: &str = r#"
    set -eu
    read -r pid _ </proc/self/stat # as it is called outside
    hostname "$2"
    mount -t tmpfs -o mode=755 tmpfs /run
    cp -r "$1" /run/host
    mkdir /run/sshd /run/sys
    mount -t sysfs sysfs /run/sys # which shows the interfaces of this namespace
    mount --bind /run/host/passwd /etc/passwd
    mount --bind /run/host/shadow /etc/shadow
    sshd=$3
    shift 3
    cd /
    for hidden in "$@"; do
        mount -t tmpfs -o mode=1777 tmpfs "$hidden"
    done
    chmod 700 /root
    mount -t proc proc /proc
    echo "$pid"
    read -r _ # until there is a network
    "$sshd" -D -e -f /run/host/sshd_config &
    read -r _ || true # until nobody needs this host
"#;

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
    name: String,
    directory: Arc<Scratch>,
    link: Link,
    /// `unshare`, which waits for the first process.
    outside: Child,
    /// The first process, as it is called here.
    init: u32,
    /// The host ends with these.
    _input: ChildStdin,
    _output: ChildStdout,
    /// What `sshd` says is read there, so that it never waits for that.
    log: Option<JoinHandle<String>>,
}

impl Sshd {
    /// Starts a host; `None` where that cannot be done, which has been said.
    #[track_caller]
    pub(crate) fn start(name: &str) -> Option<Self> {
        Self::start_all([name]).map(|[host]| host)
    }

    /// A host whose packets are so late in each direction. See [`delay`](Self::delay).
    #[track_caller]
    pub(crate) fn start_far(name: &str, delay: Duration) -> Option<Self> {
        Self::start_with([name], Some(delay)).map(|[host]| host)
    }

    /// Several at the same time, all of which are in the [`config`](Self::config) of each.
    #[track_caller]
    pub(crate) fn start_all<const N: usize>(names: [&str; N]) -> Option<[Self; N]> {
        Self::start_with(names, None)
    }

    #[track_caller]
    fn start_with<const N: usize>(names: [&str; N], delay: Option<Duration>) -> Option<[Self; N]> {
        if !can_have("sshd", &PROGRAMS, &[&["unshare"], &NAMESPACES[..], &["true"]].concat()) {
            return None;
        }
        let directory = Arc::new(Scratch::new());
        make_key(&directory.path().join("key"));
        let hosts = std::thread::scope(|scope| {
            let start = |name| {
                let directory = Arc::clone(&directory);
                scope.spawn(move || Self::start_in(name, directory, delay))
            };
            names.map(start).map(|started| started.join().unwrap())
        });
        for host in &hosts {
            host.add_to_config();
        }
        Some(hosts)
    }

    fn start_in(name: &str, directory: Arc<Scratch>, delay: Option<Duration>) -> Self {
        let files = directory.path().join(name);
        let test = std::env::current_exe().unwrap();
        lay_out(&files, &directory.path().join("key.pub"));
        let mut command = Command::new("unshare");
        command.args(NAMESPACES).args(["bash", "-c", INIT, "init"]).args([&files]).arg(name);
        command.arg(find("sshd").unwrap()).arg(test.parent().and_then(Path::parent).unwrap());
        command.args(["/root", "/tmp", "/dev/shm"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut outside = command.spawn().unwrap();
        let mut input = outside.stdin.take().unwrap();
        let mut output = BufReader::new(outside.stdout.take().unwrap());
        let log = BufReader::new(outside.stderr.take().unwrap());
        let mut pid = String::new();
        output.read_line(&mut pid).unwrap();
        let Ok(init) = pid.trim_end().parse() else {
            panic!("{name} has not come up: {}", read_all(log));
        };
        let link = Link::new(init, delay);
        let config = format!("{SSHD_CONFIG}ListenAddress {}\n", link.address());
        let place = format!("/proc/{init}/root/run/host/sshd_config");
        fs::write(place, config).unwrap();
        input.write_all(b"\n").unwrap();
        let log = until_it_listens(log);
        let log = Some(std::thread::spawn(move || read_all(log)));
        let (name, output) = (name.to_owned(), output.into_inner());
        Self { name, directory, link, outside, init, _input: input, _output: output, log }
    }

    fn add_to_config(&self) {
        let file = |name: &str| self.directory.file(name);
        let host_key = fs::read_to_string(file(&format!("{}/host_key.pub", self.name))).unwrap();
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
                self.name,
                self.address(),
                file("key"),
                file("known_hosts"),
            ),
        );
    }

    // ----- what is there -----

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

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
        ["ssh".to_owned(), "-F".to_owned(), config, self.name.clone()]
    }

    /// A command that is run there by a shell.
    pub(crate) fn command(&self, there: &str) -> Command {
        let [ssh, words @ ..] = self.ssh();
        let mut command = Command::new(ssh);
        command.args(words).arg(there);
        command
    }

    /// Its root directory, as it is reached from here without any network.
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.init).into()
    }

    /// What runs there beside the first process and `sshd`.
    pub(crate) fn processes(&self) -> Vec<HostProcess> {
        self.all_processes().into_iter().filter(|process| !process.is_sshd()).collect()
    }

    /// All but the first one, which nobody would miss.
    fn all_processes(&self) -> Vec<HostProcess> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(own) = namespace(self.init) else {
            return Vec::new(); // it has ended, and all others with it
        };
        let entries = fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let there = pids.filter(|pid| *pid != self.init && namespace(*pid).as_ref() == Some(&own));
        there.filter_map(HostProcess::find).collect()
    }

    // ----- what can befall it -----

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

    /// Stops all processes but the first one, as on a machine that swaps. Its kernel still answers.
    pub(crate) fn freeze(&self) {
        wait_for("all processes are stopped", || {
            let running = self.all_processes().into_iter().filter(HostProcess::is_running);
            let pids: Vec<_> = running.map(|process| process.pid).collect();
            signal(&pids, rustix::process::Signal::STOP);
            pids.is_empty()
        });
    }

    pub(crate) fn thaw(&self) {
        let pids: Vec<_> = self.all_processes().iter().map(|process| process.pid).collect();
        signal(&pids, rustix::process::Signal::CONT);
    }

    /// As a machine without power: everything is gone at once, and nobody is told.
    pub(crate) fn kill(&mut self) {
        self.drop_packets();
        self.end_processes();
    }

    /// As a machine that goes down: everything is gone at once, and its connections are closed.
    pub(crate) fn end_processes(&mut self) {
        if matches!(self.outside.try_wait(), Ok(None)) {
            kill(self.init); // and with it all others, before it can be waited for
            self.outside.wait().unwrap();
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.end_processes();
        let log = self.log.take().unwrap().join().unwrap();
        if std::thread::panicking() {
            eprintln!("the sshd of {} has said:\n{log}", self.name);
        }
    }
}

/// A process on a host.
#[derive(Debug)]
pub(crate) struct HostProcess {
    /// As it is called here, and not there.
    pub(crate) pid: u32,
    /// Its command, with spaces between the words; of a zombie its name.
    pub(crate) command: String,
}

impl HostProcess {
    fn find(pid: u32) -> Option<Self> {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let command = if words.is_empty() { format!("[{}]", name.trim_end()) } else { words };
        Some(Self { pid, command })
    }

    /// Be it that which listens, or that of a connection, which has another title.
    fn is_sshd(&self) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid));
        name.is_ok_and(|name| name.trim_end() == "sshd")
    }

    /// Whether one of its threads could do something.
    fn is_running(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else {
            return false;
        };
        threads.filter_map(Result::ok).any(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next());
            state.is_some_and(|state| "RS".contains(state))
        })
    }
}

/// To those that are still there.
fn signal(pids: &[u32], signal: rustix::process::Signal) {
    for pid in pids {
        let pid = rustix::process::Pid::from_raw((*pid).try_into().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// What a host has in `/run/host`; the configuration comes when its address is known.
fn lay_out(files: &Path, client: &Path) {
    fs::create_dir(files).unwrap();
    make_key(&files.join("host_key"));
    fs::copy(client, files.join("authorized_keys")).unwrap();
    let users = "root:x:0:0:root:/root:/bin/bash\n\
        sshd:x:74:65534::/run/sshd:/usr/sbin/nologin\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    fs::write(files.join("passwd"), users).unwrap();
    let shadow = files.join("shadow");
    fs::write(&shadow, "root:*:1::::::\nsshd:!:1::::::\nnobody:*:1::::::\n").unwrap();
    fs::set_permissions(shadow, fs::Permissions::from_mode(0o600)).unwrap();
}

fn make_key(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    run(command.args(["-q", "-t", "ed25519", "-N", "", "-C", "procpool", "-f"]).arg(path), "");
}

fn until_it_listens(mut log: BufReader<ChildStderr>) -> BufReader<ChildStderr> {
    let mut said = String::new();
    while !said.contains("Server listening on") {
        let before = said.len();
        log.read_line(&mut said).unwrap();
        assert!(said.len() > before, "sshd has not come up: {said}");
    }
    log
}

fn read_all(mut log: BufReader<ChildStderr>) -> String {
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut log, &mut said);
    String::from_utf8_lossy(&said).into_owned()
}
