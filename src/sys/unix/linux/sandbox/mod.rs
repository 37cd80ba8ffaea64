//! Sandboxes of Linux: Landlock for files, a seccomp filter for all else. Both are for good, and go
//! to all that a thread starts.

mod calls;

use std::ffi::OsString;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    Scope,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use self::calls::Rules;
use super::super::sandbox::SandboxRules;

/// From here on this thread, and what it starts, has what the rules leave to it.
pub(crate) fn enter_sandbox(rules: &SandboxRules) -> Result<(), String> {
    close_files(rules)?;
    refuse_calls(rules)
}

/// For a thread that does nothing but wait for the end of another process, and then end this one.
pub(crate) fn only_watch(rules: &SandboxRules) -> Result<(), String> {
    let watching = filter(calls::of_watching(), SeccompAction::Allow, refusal());
    tolerate(rules, watching.and_then(|program| install(&program)))
}

// ----- files -----

/// The first version by which files that are open for reading cannot be made shorter.
const LEAST: ABI = ABI::V3;
/// The last one that the crate knows.
const MOST: ABI = ABI::V10;

fn close_files(rules: &SandboxRules) -> Result<(), String> {
    let level =
        if rules.best_effort { CompatLevel::BestEffort } else { CompatLevel::HardRequirement };
    let status = restrict(rules, level).map_err(|error| match error {
        Unrestricted::System(error) => format!(
            "this system has no Landlock, or that of a Linux before 6.2 ({error}); \
             `Sandbox::best_effort` does with what there is"
        ),
        Unrestricted::Path(text) => text,
    })?;
    if status.ruleset == RulesetStatus::NotEnforced && !rules.best_effort {
        return Err("the system has not enforced Landlock's rules".to_owned());
    }
    Ok(())
}

/// Why files are not out of reach.
enum Unrestricted {
    System(RulesetError),
    Path(String),
}

impl From<RulesetError> for Unrestricted {
    fn from(error: RulesetError) -> Self {
        Self::System(error)
    }
}

fn restrict(rules: &SandboxRules, level: CompatLevel) -> Result<RestrictionStatus, Unrestricted> {
    let ruleset = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(LEAST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(MOST))?
        .scope(Scope::from_all(MOST))?;
    let ruleset =
        if rules.network { ruleset } else { ruleset.handle_access(AccessNet::from_all(MOST))? };
    let mut ruleset = ruleset.create()?;
    for path in &rules.read {
        ruleset = ruleset.add_rule(beneath(path, readable())?)?;
    }
    for path in &rules.write {
        ruleset = ruleset.add_rule(beneath(path, readable() | writable())?)?;
    }
    Ok(ruleset.restrict_self()?)
}

fn beneath(
    path: &OsString,
    access: BitFlags<AccessFs>,
) -> Result<PathBeneath<PathFd>, Unrestricted> {
    let file = PathFd::new(path).map_err(|error| {
        let path = path.display();
        Unrestricted::Path(format!("`{path}`, which it allows, cannot be opened: {error}"))
    })?;
    let of_file = AccessFs::from_file(MOST);
    Ok(PathBeneath::new(file, if Path::new(path).is_dir() { access } else { access & of_file }))
}

fn readable() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// But for devices and sockets.
fn writable() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::MakeFifo
        | AccessFs::Refer
}

// ----- system calls -----

fn refuse_calls(rules: &SandboxRules) -> Result<(), String> {
    let other = if rules.kills { SeccompAction::KillProcess } else { refusal() };
    let programs = [
        // Its flags are in memory, where no filter sees them. The C library then does without.
        filter(Ok(calls::of_new_threads()), missing(), SeccompAction::Allow),
        filter(calls::allowed(rules.network), SeccompAction::Allow, other),
    ];
    for program in programs {
        tolerate(rules, program.and_then(|program| install(&program)))?;
    }
    Ok(())
}

fn refusal() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM.unsigned_abs())
}

fn missing() -> SeccompAction {
    SeccompAction::Errno(libc::ENOSYS.unsigned_abs())
}

fn filter(
    rules: Result<Rules, seccompiler::BackendError>,
    listed: SeccompAction,
    other: SeccompAction,
) -> Result<BpfProgram, String> {
    let architecture = std::env::consts::ARCH.try_into().map_err(not_installed)?;
    let filter = SeccompFilter::new(rules.map_err(not_installed)?, other, listed, architecture);
    filter.and_then(TryInto::try_into).map_err(not_installed)
}

fn install(program: &BpfProgram) -> Result<(), String> {
    apply_filter(program).map_err(not_installed)
}

fn not_installed(error: impl std::fmt::Display) -> String {
    format!("no filter of system calls can be installed: {error}")
}

/// A failure is none where the sandbox is to do with what there is.
fn tolerate(rules: &SandboxRules, result: Result<(), String>) -> Result<(), String> {
    result.or_else(|error| if rules.best_effort { Ok(()) } else { Err(error) })
}
