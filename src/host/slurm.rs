//! Nodes of Slurm as hosts: each is reached by a step of its own, as `srun` mixes the output of
//! several tasks.
//!
//! ```text
//!  Host::slurm().nodes(2)         this program's allocation, or one that is made (`allocation`)
//!        ├── slurm[0] ── srun --relative=0 ── agent on the first node
//!        └── slurm[1] ── srun --relative=1 ── agent on the second one
//! ```

use std::env;
use std::ffi::OsString;
use std::io;
use std::process::Command;
use std::sync::Arc;

use crate::error::build::BuildFailure;
use crate::host::allocation::Allocation;
use crate::host::node_list;
use crate::host::own_copy::{FarProgram, OwnCopy};
use crate::wire::host::Build;

/// A step that takes nothing from others, hands on what is written as it comes, is over when its
/// client is, and binds no worker to the agent's CPU. The first words make it silent about the
/// others.
const STEP: [&str; 11] = [
    "--quiet",
    "--immediate=10",
    "--nodes=1",
    "--ntasks=1",
    "--overlap",
    "--mem=0",
    "--cpu-bind=none",
    "--mpi=none",
    "--unbuffered",
    "--kill-on-bad-exit=1",
    "--quit-on-interrupt",
];

/// Nodes, as the user wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slurm {
    /// Without it: all of this program's allocation, or one.
    pub(crate) nodes: Option<usize>,
    /// Of `salloc`.
    pub(crate) options: Vec<OsString>,
    pub(crate) program: FarProgram,
}

/// One of these nodes, in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlurmNode {
    position: usize,
    job: Job,
    program: FarProgram,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    /// This program runs in it.
    Given(OsString),
    /// It has to be requested.
    Requested(Arc<Allocation>),
}

impl Slurm {
    /// The nodes with their names, for one pool, which has so many workers on each, if that is
    /// known.
    pub(super) fn nodes(
        &self,
        name: Option<&Arc<str>>,
        workers: Option<usize>,
    ) -> Result<Vec<(Arc<str>, SlurmNode)>, BuildFailure> {
        let given = Given::from(|name| env::var_os(name));
        let most = given.as_ref().map(|given| given.nodes);
        let count = self.nodes.or(most).unwrap_or(1);
        if count == 0 {
            return Err(BuildFailure::NoNodes);
        }
        if let Some(most) = most.filter(|most| count > *most) {
            return Err(BuildFailure::TooFewNodes { wanted: count, most });
        }
        let common = name.cloned().unwrap_or_else(|| "slurm".into());
        let mut names: Vec<Arc<str>> =
            (0..count).map(|position| format!("{common}[{position}]").into()).collect();
        let job = if let Some(given) = given {
            if name.is_none() && given.names.len() >= count {
                names = given.names.into_iter().take(count).map(Arc::from).collect();
            }
            Job::Given(given.job)
        } else {
            let allocation = Allocation::new(common, count, workers, self.options.clone());
            Job::Requested(Arc::new(allocation))
        };
        let node = |(position, name)| {
            let (job, program) = (job.clone(), self.program.clone());
            (name, SlurmNode { position, job, program })
        };
        Ok(names.into_iter().enumerate().map(node).collect())
    }
}

impl SlurmNode {
    /// The command that starts the agent there, and the copy of this program that may be wanted.
    pub(super) fn command(
        &self,
        build: Build,
        role: &str,
    ) -> io::Result<(Command, Option<OwnCopy>)> {
        let job = match &self.job {
            Job::Given(job) => job.clone(),
            Job::Requested(allocation) => {
                let job = allocation.job();
                job.ok_or_else(|| io::Error::other("its allocation is over"))?.into()
            }
        };
        let (words, copy) = self.program.start(build, role)?;
        let mut of_job = OsString::from("--jobid=");
        of_job.push(job);
        let mut command = Command::new("srun");
        command.args(STEP).arg(of_job).arg(format!("--relative={}", self.position)).args(words);
        Ok((command, copy))
    }

    /// What has to be requested before it is there.
    pub(super) fn allocation(&self) -> Option<&Arc<Allocation>> {
        match &self.job {
            Job::Given(_) => None,
            Job::Requested(allocation) => Some(allocation),
        }
    }
}

/// The allocation in which this program runs.
#[derive(Debug, PartialEq, Eq)]
struct Given {
    job: OsString,
    nodes: usize,
    /// In the order of `--relative`; none if they cannot be told.
    names: Vec<String>,
}

impl Given {
    fn from(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let job = variable("SLURM_JOB_ID").filter(|job| !job.is_empty())?;
        let text = |name| variable(name)?.into_string().ok();
        let either = |first, second| text(first).or_else(|| text(second));
        let list = either("SLURM_JOB_NODELIST", "SLURM_NODELIST");
        let names = list.and_then(|list| node_list::expand(&list)).unwrap_or_default();
        let count = either("SLURM_JOB_NUM_NODES", "SLURM_NNODES");
        let count = count.and_then(|count| count.trim().parse().ok());
        let nodes = count.unwrap_or(names.len().max(1));
        let names = if names.len() == nodes { names } else { Vec::new() };
        Some(Self { job, nodes, names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(variables: &[(&str, &str)]) -> Option<Given> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Given::from(|name| find(name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_allocation_is_known_by_what_slurm_tells_its_programs() {
        assert_eq!(given(&[]), None);
        assert_eq!(given(&[("SLURM_JOB_ID", "")]), None);
        let count = |variables: &[_]| given(variables).map(|given| (given.nodes, given.names));
        let job = ("SLURM_JOB_ID", "7");
        assert_eq!(count(&[job]), Some((1, vec![])));
        assert_eq!(count(&[job, ("SLURM_NNODES", "3")]), Some((3, vec![])));
        let list = ("SLURM_JOB_NODELIST", "n[1-2]");
        let names = || vec!["n1".to_owned(), "n2".to_owned()];
        assert_eq!(count(&[job, list]), Some((2, names())));
        assert_eq!(count(&[job, list, ("SLURM_JOB_NUM_NODES", "2")]), Some((2, names())));
        // Names that do not fit would be wrong.
        assert_eq!(count(&[job, list, ("SLURM_JOB_NUM_NODES", "3")]), Some((3, vec![])));
    }
}
