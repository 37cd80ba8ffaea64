//! Who a process is among its relatives: names, daemons, and the key that they share.

use std::fmt;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::sync::Mutex;
use crate::base::id::WorkerId;
use crate::sys::descriptor::{Descriptor, has_hung_up, is_readable};
use crate::sys::process::{name_own_process, open_process, parent_id};
use crate::sys::random::random_bytes;

/// What a child process is told about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    /// The numbers of its ancestors and its own, such as `1:2`; empty in the main process.
    path: String,
    daemon: bool,
    /// What its own children are unless they are told otherwise.
    children_are_daemons: bool,
    authkey: Secret,
    parent: Option<Relative>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Relative {
    name: String,
    pid: u32,
}

impl Identity {
    /// That of a child of this process.
    pub(crate) fn of_child(name: &str, path: &str, daemon: bool, authkey: &AuthKey) -> Self {
        let own = own();
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            daemon,
            children_are_daemons: daemon,
            authkey: Secret(authkey.0.clone()),
            parent: Some(Relative { name: own.identity.name.clone(), pid: std::process::id() }),
        }
    }

    /// That of a worker of a pool of this process. What its tasks start goes with it; but it is no
    /// daemon, so they may start something.
    pub(crate) fn of_worker(pool: &str, worker: WorkerId) -> Self {
        let number = worker.get();
        let path = own().path_below(&format!("w{number}"));
        let name = format!("{pool}-worker-{number}");
        let identity = Self::of_child(&name, &path, false, &current_process().authkey());
        Self { children_are_daemons: true, ..identity }
    }

    /// The pid of the process that has started this one, or has had it started.
    pub(crate) fn parent_pid(&self) -> Option<u32> {
        self.parent.as_ref().map(|parent| parent.pid)
    }

    /// Another process has made it, on behalf of this one.
    pub(crate) fn set_parent_pid(&mut self, pid: u32) {
        if let Some(parent) = &mut self.parent {
            parent.pid = pid;
        }
    }

    /// Tells this process who it is, and by what it can see the end of its parent.
    pub(crate) fn adopt(self, parent: ParentLink) {
        name_own_process(&self.name);
        *OWN.lock() = Some(Own::new(self, Some(parent)));
    }

    fn of_main_process() -> Self {
        // Without randomness there is no secret, and nobody can prove to have it.
        let authkey = random_bytes::<32>().map(Vec::from).unwrap_or_default();
        Self {
            name: "MainProcess".to_owned(),
            path: String::new(),
            daemon: false,
            children_are_daemons: false,
            authkey: Secret(authkey),
            parent: None,
        }
    }
}

/// Bytes that are not printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// What this process knows of itself. It lives as long as the process.
struct Own {
    identity: Identity,
    authkey: Mutex<AuthKey>,
    /// How many [`Process`](crate::Process)es were made here.
    made: AtomicU64,
    parent: Option<ParentLink>,
    /// Readable once the parent has ended; opened when it is asked for.
    parent_end: OnceLock<Option<Descriptor>>,
}

/// What comes from the parent, as long as that lives.
pub(crate) struct ParentLink {
    pub(crate) input: Arc<File>,
    /// Nothing more comes, so it is readable only once the parent has ended.
    pub(crate) is_silent: bool,
}

impl ParentLink {
    /// What is readable once the parent has ended.
    fn open_end(&self, parent: u32) -> Option<Descriptor> {
        // If the parent lives now then what was opened by its pid is it.
        let process = open_process(parent).ok().filter(|_| !has_hung_up(&self.input));
        process.or_else(|| self.is_silent.then(|| self.input.try_clone().ok().map(Into::into))?)
    }
}

static OWN: Mutex<Option<&'static Own>> = Mutex::new(None);

fn own() -> &'static Own {
    OWN.lock().get_or_insert_with(|| Own::new(Identity::of_main_process(), None))
}

/// The parent of this process.
#[derive(Clone, Copy)]
pub(crate) struct Parent {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
    /// Readable once it has ended.
    pub(crate) end: Option<&'static Descriptor>,
}

impl Parent {
    pub(crate) fn is_alive(self) -> bool {
        match self.end {
            Some(end) => !is_readable(end),
            None => parent_id() == self.pid,
        }
    }
}

impl Own {
    fn new(identity: Identity, parent: Option<ParentLink>) -> &'static Self {
        let authkey = Mutex::new(AuthKey(identity.authkey.0.clone()));
        let (made, parent_end) = (AtomicU64::new(0), OnceLock::new());
        Box::leak(Box::new(Self { identity, authkey, made, parent, parent_end }))
    }

    fn path_below(&self, last: &str) -> String {
        match &*self.identity.path {
            "" => last.to_owned(),
            path => format!("{path}:{last}"),
        }
    }
}

/// A secret that a process shares with its descendants; Python's `authkey`.
///
/// The main process has 32 random bytes. Each child inherits the key of the process that makes it.
/// The key travels over a private socket. It is never in the arguments or the environment of a
/// process, where others could read it. This crate does not use the key itself. Use it, for
/// example, to authenticate a network connection between parent and child.
///
/// ```
/// let key = procpool::current_process().authkey();
/// assert_eq!(key.as_bytes().len(), 32);
/// assert_eq!(format!("{key:?}"), "AuthKey(..)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct AuthKey(Vec<u8>);

impl AuthKey {
    /// A key of your choice, of any length.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthKey(..)")
    }
}

/// The process in which this is called: one that the user has started, a
/// [`Process`](crate::Process), or a worker of a pool. It is Python's function of the same name.
///
/// ```
/// let this = procpool::current_process();
/// assert_eq!(this.name(), "MainProcess");
/// assert_eq!(this.pid(), std::process::id());
/// assert!(!this.daemon());
/// ```
pub fn current_process() -> CurrentProcess {
    CurrentProcess(own())
}

/// What [`current_process`] returns.
#[derive(Clone, Copy)]
pub struct CurrentProcess(&'static Own);

impl CurrentProcess {
    /// Its name. A process that the user has started is `MainProcess`. A
    /// [`Process`](crate::Process) has [its name](crate::Process::name). A worker has the pool's
    /// name and its number, as in `procpool-worker-3`.
    pub fn name(self) -> &'static str {
        &self.0.identity.name
    }

    /// Its process id.
    pub fn pid(self) -> u32 {
        std::process::id()
    }

    /// Whether it is a [daemon](crate::ProcessBuilder::daemon), which cannot start a
    /// [`Process`](crate::Process). A worker of a pool is not a daemon.
    pub fn daemon(self) -> bool {
        self.0.identity.daemon
    }

    /// The key. Processes that are made from now on inherit it.
    pub fn authkey(self) -> AuthKey {
        self.0.authkey.lock().clone()
    }

    /// Changes the key of this process. Other processes keep theirs.
    pub fn set_authkey(self, key: AuthKey) {
        *self.0.authkey.lock() = key;
    }

    /// Who has started it, if it was not the user.
    pub(crate) fn parent(self) -> Option<Parent> {
        let Self(own) = self;
        let Relative { name, pid } = own.identity.parent.as_ref()?;
        let open = || own.parent.as_ref()?.open_end(*pid);
        Some(Parent { name, pid: *pid, end: own.parent_end.get_or_init(open).as_ref() })
    }

    /// The path of the next process that is made here.
    pub(crate) fn next_path(self) -> String {
        let number = self.0.made.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.path_below(&number.to_string())
    }

    /// Whether its children are daemons unless they are told otherwise.
    pub(crate) fn children_are_daemons(self) -> bool {
        self.0.identity.children_are_daemons
    }
}

impl fmt::Debug for CurrentProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentProcess")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("daemon", &self.daemon())
            .finish_non_exhaustive()
    }
}
