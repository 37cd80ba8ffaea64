//! Namespaces of processes, mounts, network, IPC and names, in which something runs as on a host of
//! its own.
//!
//! It shares the root directory with this machine, but for `/run`, `/dev/shm`, and what else it is
//! told to hide. It ends with its first process: when the test says so, or is gone, so that its pipe
//! ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::LIMIT;
use crate::tools::wait_for;

/// What has to be possible in these namespaces: the interfaces of a [`Link`](crate::link::Link).
pub(crate) const TRIAL: [&str; 3] = [
    "bash",
    "-c",
    "PATH=$PATH:/usr/sbin:/sbin; ip link add near type veth peer name far && \
     ip link add bridge1 type bridge && ip link add link near name tap type macvtap",
];

pub(crate) const NAMESPACES: [&str; 7] =
    ["--pid", "--fork", "--kill-child", "--mount", "--net", "--ipc", "--uts"];

/// What the first process does. `$1` is its files, `$2` its name, `$3` what it runs when there
/// is a network; the rest is hidden.
const INIT: &str = r#"
    set -eu
    read -r pid _ </proc/self/stat # as it is called outside
    hostname "$2"
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir /run/sshd /run/sys
    cp -r "$1" /run/host
    mount -t sysfs sysfs /run/sys # which shows the interfaces of this namespace
    for file in passwd shadow hosts; do
        mount --bind "/run/host/$file" "/etc/$file"
    done
    service=$3
    shift 3
    cd /
    for hidden in /dev/shm "$@"; do
        mount -t tmpfs -o mode=1777 tmpfs "$hidden"
    done
    mount -t proc proc /proc
    PATH=$PATH:/usr/sbin:/sbin # which not every user has
    echo "$pid" && exec >/dev/null
    read -r _ # until there is a network
    eval "$service"
    read -r _ || true # until nobody needs this host
"#;

pub(crate) struct Container {
    name: String,
    /// The names of the programs that are its service, and no work that anybody has given it.
    service: &'static [&'static str],
    /// Keeps the network even when nobody is left in it, as a kernel would.
    network: File,
    /// `unshare`, which waits for the first process.
    outside: Child,
    /// The first process, as it is called here.
    init: u32,
    /// The container ends with its input.
    input: ChildStdin,
    /// Lines that the service has said, and who reads them, so that it never waits for that.
    log: mpsc::Receiver<String>,
    reader: Option<JoinHandle<()>>,
}

impl Container {
    /// Starts the first process, which waits for [`run`](Self::run).
    ///
    /// `files` becomes its `/run/host`; users and names of hosts are added. `script` starts its
    /// service in the background, whose programs have these names.
    pub(crate) fn start(
        name: &str,
        files: &Path,
        script: &str,
        service: &'static [&'static str],
        hidden: &[&Path],
    ) -> Self {
        lay_out(name, files);
        let mut command = Command::new("unshare");
        command.args(NAMESPACES).args(["bash", "-c", INIT, "init"]).arg(files);
        command.args([name, script]).args(hidden);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut outside = command.spawn().unwrap();
        let input = outside.stdin.take().unwrap();
        let mut output = BufReader::new(outside.stdout.take().unwrap());
        let stderr = outside.stderr.take().unwrap();
        let mut pid = String::new();
        output.read_line(&mut pid).unwrap();
        let (said, log) = mpsc::channel(); // as much as the service says, which is little
        let reader = Some(std::thread::spawn(move || read_lines(stderr, &said)));
        let Ok(init) = pid.trim_end().parse() else {
            panic!("{name} has not come up: {:?}", log.iter().collect::<Vec<_>>());
        };
        let network = File::open(format!("/proc/{init}/ns/net")).unwrap();
        let name = name.to_owned();
        Self { name, service, network, outside, init, input, log, reader }
    }

    /// Runs the service, and waits until it says this.
    pub(crate) fn run(&mut self, ready: &str) {
        self.input.write_all(b"\n").unwrap();
        let mut said = String::new();
        while !said.contains(ready) {
            match self.log.recv_timeout(LIMIT) {
                Ok(line) => said += &line,
                Err(error) => panic!("{} is not ready ({error}): {said}", self.name),
            }
        }
    }

    // ----- what is there -----

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its first process, as it is called here.
    pub(crate) fn init(&self) -> u32 {
        self.init
    }

    pub(crate) fn network(&self) -> &File {
        &self.network
    }

    /// Its root directory, as it is reached from here without any network.
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.init).into()
    }

    /// What runs there beside the first process and the service.
    pub(crate) fn processes(&self) -> Vec<HostProcess> {
        let mut all = self.all_processes();
        all.retain(|process| !self.service.contains(&&*process.name));
        all
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

    /// Stops all processes but the first one, as on a machine that swaps. Its kernel still answers.
    pub(crate) fn freeze(&self) {
        wait_for("all processes are stopped", || {
            let all = self.all_processes();
            for process in &all {
                process.send(Signal::STOP); // who waits for a disk stops behind that
            }
            !all.iter().any(HostProcess::is_running)
        });
    }

    pub(crate) fn thaw(&self) {
        for process in self.all_processes() {
            process.send(Signal::CONT);
        }
    }

    /// As a machine that goes down: everything is gone at once, and its connections are closed.
    pub(crate) fn end_processes(&mut self) {
        if matches!(self.outside.try_wait(), Ok(None)) {
            // And with it all others, before it can be waited for. It may have just ended by itself.
            let init = Pid::from_raw(self.init.try_into().unwrap()).unwrap();
            let _ = kill_process(init, Signal::KILL);
            self.outside.wait().unwrap();
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.end_processes();
        let _ = self.reader.take().unwrap().join();
        if std::thread::panicking() {
            eprintln!("{} has said last:\n{}", self.name, self.log.iter().collect::<String>());
        }
    }
}

/// A process in a container.
#[derive(Debug)]
pub(crate) struct HostProcess {
    /// As it is called here, and not there.
    pub(crate) pid: u32,
    name: String,
    /// Its command, with spaces between the words; of a zombie none.
    pub(crate) command: String,
}

impl HostProcess {
    fn find(pid: u32) -> Option<Self> {
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned();
        Some(Self { pid, name, command })
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

    /// If it is still there.
    fn send(&self, signal: Signal) {
        let _ = kill_process(Pid::from_raw(self.pid.try_into().unwrap()).unwrap(), signal);
    }
}

/// Users and hosts that are known there.
fn lay_out(name: &str, files: &Path) {
    let users = "root:x:0:0:root:/root:/bin/bash\n\
        sshd:x:74:65534::/run/sshd:/usr/sbin/nologin\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
    fs::write(files.join("passwd"), users).unwrap();
    let shadow = files.join("shadow");
    fs::write(&shadow, "root:*:1::::::\nsshd:!:1::::::\nnobody:*:1::::::\n").unwrap();
    fs::set_permissions(shadow, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(files.join("hosts"), format!("127.0.0.1 localhost {name}\n")).unwrap();
}

fn read_lines(stderr: ChildStderr, said: &mpsc::Sender<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    while stderr.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let _ = said.send(String::from_utf8_lossy(&line).into_owned()); // kept, or nobody asks
        line.clear();
    }
}
