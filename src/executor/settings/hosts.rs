//! Hosts in a file.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use serde::ser::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::table::{read_table_as, table};
use super::{command, number, plain, switch, text, texts, time};
use crate::executor::units::{Read, Switch, Text, Whole, seconds};
use crate::host::{FarProgram, Host, Reach};

/// How a [`Host`] is written for people.
#[derive(Default, Serialize)]
#[serde(rename = "Host")]
struct HostEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slurm: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    lease: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_options: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slurm_options: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<PathBuf>,
}

table! {
    HostEntry as "Host", "a table of a host";
    local: Read<Switch> => switch,
    ssh: Read<Text> => text,
    command: Vec<Read<Text>> => command,
    slurm: Read<Switch> => switch,
    name: Read<Text> => text,
    workers: Read<Whole<usize>> => at_least_one,
    lease: Read<Duration> => time,
    ssh_options: Vec<Read<Text>> => texts,
    nodes: Read<Whole<usize>> => at_least_one,
    slurm_options: Vec<Read<Text>> => texts,
    program: Vec<Read<Text>> => command,
    cache: PathBuf => plain,
}

fn at_least_one(read: Read<Whole<usize>>) -> Result<usize, String> {
    let count = number(read)?;
    if count == 0 { Err("there has to be one at least".to_owned()) } else { Ok(count) }
}

impl HostEntry {
    fn into_host(self) -> Result<Host, String> {
        let (local, slurm) = (self.local == Some(true), self.slurm == Some(true));
        self.find_useless(slurm)?;
        let mut host = match (local, self.ssh, self.command, slurm) {
            (true, None, None, false) => Host::local(),
            (false, Some(destination), None, false) => Host::ssh(destination),
            (false, None, Some(words), false) => Host::command(words),
            (false, None, None, true) => Host::slurm(),
            (local, ssh, command, slurm) => {
                let ways = [
                    local.then(|| "`local = true`".to_owned()),
                    ssh.map(|destination| format!("`ssh = {destination:?}`")),
                    command.map(|words| format!("`command = {words:?}`")),
                    slurm.then(|| "`slurm = true`".to_owned()),
                ];
                return Err(reached_by(&ways.into_iter().flatten().collect::<Vec<_>>()));
            }
        };
        host = self.ssh_options.into_iter().fold(host, Host::ssh_options);
        host = self.slurm_options.into_iter().fold(host, Host::slurm_options);
        host = self.program.into_iter().fold(host, Host::program);
        host = self.cache.into_iter().fold(host, Host::cache);
        host = self.name.into_iter().fold(host, Host::name);
        host = self.lease.into_iter().fold(host, Host::lease);
        Ok(host.nodes(self.nodes).workers(self.workers))
    }

    /// Fails for a field that would change nothing.
    fn find_useless(&self, slurm: bool) -> Result<(), String> {
        let (ssh, either) = (self.ssh.is_some(), self.ssh.is_some() || slurm);
        for (name, is_set, is_used, by) in [
            ("ssh_options", self.ssh_options.is_some(), ssh, "`ssh`"),
            ("nodes", self.nodes.is_some(), slurm, "`slurm`"),
            ("slurm_options", self.slurm_options.is_some(), slurm, "`slurm`"),
            ("program", self.program.is_some(), either, "`ssh` or `slurm`"),
            ("cache", self.cache.is_some(), either, "`ssh` or `slurm`"),
        ] {
            if is_set && !is_used {
                return Err(format!("{name}: only a host of {by} has a use for it"));
            }
        }
        Ok(())
    }

    /// An error says what cannot be written.
    fn of(host: &Host) -> Result<Self, String> {
        let name = host.name.as_deref().map(str::to_owned);
        let mut entry =
            Self { name, workers: host.workers, lease: Some(host.lease), ..Self::default() };
        match &host.reach {
            Reach::Local => entry.local = Some(true),
            Reach::Command(words) => entry.command = Some(texts_of(words)?),
            Reach::Ssh(ssh) => {
                entry.ssh = Some(text_of(&ssh.destination)?);
                entry.ssh_options = Some(texts_of(&ssh.options)?);
                entry.set_program(&ssh.program)?;
            }
            Reach::Slurm(slurm) => {
                entry.slurm = Some(true);
                entry.nodes = slurm.nodes;
                entry.slurm_options = Some(texts_of(&slurm.options)?);
                entry.set_program(&slurm.program)?;
            }
            // Not reached: only a pool has these.
            Reach::SlurmNode(_) => return Err("a node of a pool is no setting".to_owned()),
        }
        Ok(entry)
    }

    fn set_program(&mut self, program: &FarProgram) -> Result<(), String> {
        let words = Some(&program.words).filter(|words| !words.is_empty());
        self.program = words.map(|words| texts_of(words)).transpose()?;
        self.cache = program.cache.as_ref().map(PathBuf::from);
        Ok(())
    }
}

/// What is wrong with a host that is reached in none of the ways, or in several.
fn reached_by(ways: &[String]) -> String {
    match ways {
        [] => "a host needs `ssh`, `command`, `slurm = true` or `local = true`".to_owned(),
        _ => format!("a host is reached in one way only, not by {}", ways.join(" and ")),
    }
}

fn text_of(word: &OsStr) -> Result<String, String> {
    let text = word.to_str().map(str::to_owned);
    text.ok_or_else(|| format!("{} is not UTF-8", word.display()))
}

fn texts_of(words: &[OsString]) -> Result<Vec<String>, String> {
    words.iter().map(|word| text_of(word)).collect()
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read_table_as(from, HostEntry::into_host)
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        HostEntry::of(self).map_err(S::Error::custom)?.serialize(to)
    }
}
