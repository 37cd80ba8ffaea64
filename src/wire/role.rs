//! What a process of this program is to another one.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use super::frame::{PREAMBLE, put_frame};
use super::message::Kind;
use crate::sys::pipe::is_stdin_pipe;
use crate::sys::socket::{is_stdin_socket, write_to_stdin};

/// With this code a child exits that could not begin because the machine was short of something
/// (`EX_TEMPFAIL`).
pub(crate) const TRY_AGAIN: i32 = 75;

/// What a worker prints, with the reason, before it ends itself because it cannot talk to its
/// parent any more.
pub(crate) const LOST_PARENT: &str = "a worker has lost its parent";

/// What this program was started as by another procpool process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker of a pool.
    Worker,
    /// The process that forks the workers of a pool.
    ForkServer,
    /// A [`Process`](crate::Process).
    Process,
    /// What has the workers of a pool on another host.
    Agent,
}

impl Role {
    const ALL: [Self; 4] = [Self::Worker, Self::ForkServer, Self::Process, Self::Agent];

    fn name(self) -> &'static str {
        match self {
            Self::Worker => "--procpool-worker",
            Self::ForkServer => "--procpool-forkserver",
            Self::Process => "--procpool-process",
            Self::Agent => "--procpool-agent",
        }
    }

    /// That of this process; `None` for one that the user has started.
    pub(crate) fn of_this_process() -> Option<Self> {
        Flag::of_this_process().map(|flag| flag.role)
    }

    /// Whether descriptor 0 is still what a parent gives to such a process. Nobody who plays the
    /// role leaves it there, whichever copy of this crate that is.
    fn is_open(self) -> bool {
        match self {
            Self::Worker | Self::Agent => is_stdin_pipe() || is_stdin_socket(),
            Self::ForkServer | Self::Process => is_stdin_socket(),
        }
    }
}

/// Which copy of this crate this is: a program may have several, of several versions, or in several
/// libraries, each with functions of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyId(String);

impl CopyId {
    /// Copies of one version with the same functions are one as good as the other.
    pub(crate) fn new(functions: u64) -> Self {
        Self(format!("{}-{functions:016x}", env!("CARGO_PKG_VERSION")))
    }
}

/// The last argument of every process that has a role. A program that does not call
/// [`init`](crate::init) will most likely refuse such an option at once, as the standard test
/// harness does; and unlike an environment variable it is not inherited by the processes that a
/// task starts.
///
/// ```text
/// --procpool-worker                              by hand, for whoever comes first
/// --procpool-worker=0.1.0-1f0c55d3a8e2b794       for that copy of this crate
/// --procpool-worker=0.1.0-1f0c55d3a8e2b794:any   for any, as a `worker_command` may be another build
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    role: Role,
    /// Who has started it.
    owner: Option<CopyId>,
    for_any: bool,
}

impl Flag {
    /// What all of them begin with; who does not know them quotes them.
    pub(crate) const PREFIX: &str = "--procpool-";

    pub(crate) fn new(role: Role, owner: &CopyId, for_any: bool) -> Self {
        Self { role, owner: Some(owner.clone()), for_any }
    }

    /// As an argument.
    pub(crate) fn text(&self) -> String {
        let owner = self.owner.as_ref().map(|owner| format!("={}", owner.0)).unwrap_or_default();
        format!("{}{owner}{}", self.role.name(), if self.for_any { ANY } else { "" })
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, owner) = text.split_once('=').map_or((text, None), |(a, b)| (a, Some(b)));
        let role = Role::ALL.into_iter().find(|role| role.name() == name)?;
        let for_any = owner.is_some_and(|owner| owner.ends_with(ANY));
        let owner = owner.map(|owner| CopyId(owner.trim_end_matches(ANY).to_owned()));
        Some(Self { role, owner, for_any })
    }

    fn of_this_process() -> Option<Self> {
        Self::parse(std::env::args_os().next_back()?.to_str()?)
    }

    fn is_for(&self, copy: &CopyId) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner == copy)
    }
}

const ANY: &str = ":any";

/// A program that is a worker has said so, to this copy of the crate.
static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// This process goes on as what it was started as.
pub(crate) fn initialize() {
    INITIALIZED.store(true, Ordering::Release);
}

/// The flag of this process, if it has a role that this copy of the crate has not taken.
fn untaken() -> Option<Flag> {
    if INITIALIZED.load(Ordering::Acquire) { None } else { Flag::of_this_process() }
}

/// Whether this copy of the crate is to play the role of this process. One of another copy is left
/// for that.
pub(crate) fn is_to_begin(copy: &CopyId) -> bool {
    untaken().is_some_and(|flag| flag.is_for(copy) || flag.for_any && flag.role.is_open())
}

/// Whether this process was meant to be a worker but has gone on to user code. Nobody has taken it
/// who should have: this copy of the crate if it is that one's, else any.
pub(crate) fn is_uninitialized_worker(copy: &CopyId) -> bool {
    untaken().is_some_and(|flag| flag.is_for(copy) || flag.role.is_open())
}

/// Tells the parent, which waits for a hello, what was forgotten.
pub(crate) fn report_missing_init() {
    let mut message = PREAMBLE.to_vec();
    if put_frame(&mut message, Kind::NotInitialized, &(), 0).is_err() {
        return;
    }
    // If the parent cannot be told, it still sees this process end without a hello.
    let _ = match Role::of_this_process() {
        Some(Role::ForkServer | Role::Process) => write_to_stdin(&message),
        Some(Role::Worker | Role::Agent) | None => {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(&message).and_then(|()| stdout.flush())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_says_whose_worker_it_is() {
        let (own, other) = (CopyId::new(7), CopyId::new(8));
        let flag = Flag::new(Role::Worker, &own, false);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(flag.text(), format!("--procpool-worker={version}-0000000000000007"));
        assert!(flag.is_for(&own) && !flag.is_for(&other));
        let older = CopyId("0.0.1-0000000000000007".to_owned());
        assert!(!flag.is_for(&older));
    }

    #[test]
    fn a_flag_is_read_as_it_was_written() {
        for role in Role::ALL {
            for for_any in [false, true] {
                let flag = Flag::new(role, &CopyId::new(u64::MAX), for_any);
                assert_eq!(Flag::parse(&flag.text()), Some(flag));
            }
        }
        assert_eq!(Flag::parse("--procpool-workers"), None);
        assert_eq!(Flag::parse("worker"), None);
    }

    #[test]
    fn a_worker_by_hand_is_for_every_copy() {
        let flag = Flag::parse("--procpool-forkserver").unwrap();
        assert_eq!(flag.text(), "--procpool-forkserver");
        assert!(flag.is_for(&CopyId::new(1)) && flag.is_for(&CopyId::new(2)));
    }
}
