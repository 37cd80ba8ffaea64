//! The tables within the settings.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::table::{named, read_table, table};
use super::{number, plain, size, time};
use crate::base::ResourceLimits;
use crate::executor::units::{Cpus, NUMBER, Read, Scalar, Size, Text, Whole, seconds};
use crate::parent::Cgroup;

// ----- limits -----

/// How [`ResourceLimits`] are written for people.
#[derive(Serialize)]
#[serde(remote = "ResourceLimits", rename = "ResourceLimits")]
struct LimitsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_space: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    cpu_time: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_size: Option<u64>,
}

table! {
    ResourceLimits as "ResourceLimits", "a table of limits";
    memory: Read<Size> => size,
    address_space: Read<Size> => size,
    cpu_time: Read<Duration> => time,
    file_size: Read<Size> => size,
    open_files: Read<Whole<u64>> => number,
    core_size: Read<Size> => size,
}

impl<'de> Deserialize<'de> for ResourceLimits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() { read_table(from) } else { Self::deserialize(from) }
    }
}

impl Serialize for ResourceLimits {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            LimitsTable::serialize(self, to)
        } else {
            Self::serialize(self, to)
        }
    }
}

// ----- control groups -----

#[derive(Default)]
struct CgroupTable {
    parent: Option<PathBuf>,
    memory_max: Option<u64>,
    cpu_max: Option<f64>,
    pids_max: Option<u64>,
    set: Option<BTreeMap<String, String>>,
}

table! {
    CgroupTable as "Cgroup", "a table of a control group";
    parent: PathBuf => plain,
    memory_max: Read<Size> => size,
    cpu_max: Read<Cpus> => |cpus: Read<Cpus>| plain(cpus.0.0),
    pids_max: Read<Whole<u64>> => number,
    set: GroupFiles => GroupFiles::into_files,
}

impl<'de> Deserialize<'de> for Cgroup {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let CgroupTable { parent, memory_max, cpu_max, pids_max, set } = read_table(from)?;
        let mut group = Self::new();
        group = memory_max.into_iter().fold(group, Self::memory_max);
        group = cpu_max.into_iter().fold(group, Self::cpu_max);
        group = pids_max.into_iter().fold(group, Self::pids_max);
        group = parent.into_iter().fold(group, Self::parent);
        Ok(set.into_iter().flatten().fold(group, |group, (file, value)| group.set(file, value)))
    }
}

impl Serialize for Cgroup {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut table = to.serialize_struct("Cgroup", 2)?;
        match self.home() {
            Some(parent) => table.serialize_field("parent", &Some(parent))?,
            None => table.skip_field("parent")?,
        }
        table.serialize_field("set", &Some(self.values().collect::<BTreeMap<_, _>>()))?;
        table.end()
    }
}

/// What is written to a file, or to files whose names begin with the same word: TOML reads
/// `cpu.weight` as a `weight` in a table `cpu`.
enum GroupFiles {
    Value(String),
    Files(BTreeMap<String, String>),
}

impl GroupFiles {
    fn into_files(self) -> Result<BTreeMap<String, String>, String> {
        match self {
            Self::Files(files) => Ok(files),
            Self::Value(value) => Err(format!("{value:?} is no table of files")),
        }
    }
}

impl<'de> Deserialize<'de> for GroupFiles {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(GroupFilesVisitor)
    }
}

struct GroupFilesVisitor;

impl GroupFilesVisitor {
    fn value<E: Error>(text: Result<Text, String>) -> Result<GroupFiles, E> {
        text.map(|text| GroupFiles::Value(text.0)).map_err(E::custom)
    }
}

impl<'de> Visitor<'de> for GroupFilesVisitor {
    type Value = GroupFiles;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what is written to files of a control group")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<GroupFiles, E> {
        Self::value(Text::of_whole(number.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<GroupFiles, E> {
        Self::value(Text::of_whole(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<GroupFiles, E> {
        Self::value(Text::of_number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<GroupFiles, E> {
        Self::value(Text::of_text(text))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<GroupFiles, M::Error> {
        let mut files = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let read = map.next_value();
            match read.map_err(|error| named(error, &name))? {
                GroupFiles::Value(value) if name == NUMBER => return Ok(GroupFiles::Value(value)),
                GroupFiles::Value(value) => drop(files.insert(name, value)),
                GroupFiles::Files(inner) => {
                    let named = inner.into_iter().map(|(file, v)| (format!("{name}.{file}"), v));
                    files.extend(named);
                }
            }
        }
        Ok(GroupFiles::Files(files))
    }
}

// ----- sandboxes -----

#[cfg(feature = "sandbox")]
mod sandbox {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::executor::settings::table::{read_table, table};
    use crate::executor::settings::{plain, switch};
    use crate::executor::units::{Read, Switch};
    use crate::sandbox::Sandbox;

    #[derive(Default, Serialize)]
    #[serde(rename = "Sandbox")]
    struct SandboxTable {
        read: Option<Vec<PathBuf>>,
        write: Option<Vec<PathBuf>>,
        network: Option<bool>,
        kill_on_refusal: Option<bool>,
        best_effort: Option<bool>,
    }

    table! {
        SandboxTable as "Sandbox", "a table of a sandbox";
        read: Vec<PathBuf> => plain,
        write: Vec<PathBuf> => plain,
        network: Read<Switch> => switch,
        kill_on_refusal: Read<Switch> => switch,
        best_effort: Read<Switch> => switch,
    }

    impl<'de> Deserialize<'de> for Sandbox {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let SandboxTable { read, write, network, kill_on_refusal, best_effort } =
                read_table(from)?;
            let mut sandbox = Self::new();
            sandbox = read.into_iter().flatten().fold(sandbox, Self::read);
            sandbox = write.into_iter().flatten().fold(sandbox, Self::write);
            for (wanted, set) in [
                (network, Self::network as fn(Self) -> Self),
                (kill_on_refusal, Self::kill_on_refusal),
                (best_effort, Self::best_effort),
            ] {
                sandbox = if wanted == Some(true) { set(sandbox) } else { sandbox };
            }
            Ok(sandbox)
        }
    }

    impl Serialize for Sandbox {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let rules = &self.0;
            SandboxTable {
                read: Some(rules.read.iter().map(PathBuf::from).collect()),
                write: Some(rules.write.iter().map(PathBuf::from).collect()),
                network: Some(rules.network),
                kill_on_refusal: Some(rules.kills),
                best_effort: Some(rules.best_effort),
            }
            .serialize(to)
        }
    }
}
