//! What was measured, as a table and as JSON.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::machine::Machine;
use super::show::{Aim, Unit, median, percentile};
use super::{Against, Block, Line, Other};

/// A case that was measured.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) others: Vec<Other>,
    pub(super) lines: Vec<Line>,
    pub(super) blocks: Vec<Block>,
}

#[derive(Serialize)]
pub(super) struct Report {
    machine: Machine,
    rows: Vec<Measured>,
    #[serde(skip)]
    table: Vec<[String; 6]>,
}

#[derive(Serialize)]
struct Measured {
    what: String,
    unit: &'static str,
    ours: Summary,
    others: Vec<MeasuredOther>,
    comparisons: Vec<Comparison>,
}

#[derive(Serialize)]
struct MeasuredOther {
    name: String,
    is_peer: bool,
    /// None if it is absent.
    values: Option<Summary>,
}

/// In the unit of the row.
#[derive(Serialize)]
struct Summary {
    median: f64,
    /// Of what was measured: of durations, also where the unit is a rate.
    p99: f64,
}

#[derive(Serialize)]
struct Comparison {
    against: String,
    other: String,
    ours: String,
    ratio: String,
    target: String,
    met: Option<bool>,
}

impl Report {
    pub(super) fn new(rows: &[Row], load: f64, peers: Vec<String>) -> Self {
        let header = ["what", "floor or peer", "ours", "ratio: median (min..max)", "target", "met"];
        let mut table = vec![header.map(str::to_owned)];
        let machine = Machine::new(load, peers);
        let rows: Vec<Measured> = rows.iter().map(Row::measured).collect();
        for row in &rows {
            let names = std::iter::once(row.what.as_str()).chain(std::iter::repeat(""));
            // Memory and counts are the same on a busy machine.
            let is_sure = !machine.is_busy() || matches!(row.unit, "bytes" | "count");
            let lines = row.comparisons.iter().zip(names);
            table.extend(lines.map(|(line, name)| line.cells(name, is_sure)));
        }
        Self { machine, rows, table }
    }

    pub(super) fn print(&self) {
        let width = |column: usize| self.table.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.table {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        println!("\n{}", self.machine.describe());
        if self.machine.is_busy() {
            println!("the machine was busy with something else: what has a `?` is not decided");
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        serde_json::to_writer_pretty(File::create(path)?, self)?;
        Ok(())
    }
}

impl Comparison {
    fn cells(&self, what: &str, is_sure: bool) -> [String; 6] {
        let other = [self.against.as_str(), self.other.as_str()].join(" ").trim().to_owned();
        let met = self.met.map_or("", |met| if met { "yes" } else { "NO" });
        let met = if is_sure || met.is_empty() { met.to_owned() } else { format!("{met}?") };
        [what.to_owned(), other, self.ours.clone(), self.ratio.clone(), self.target.clone(), met]
    }
}

impl Row {
    fn measured(&self) -> Measured {
        let others = self.others.iter().zip(0..).map(|(other, index)| MeasuredOther {
            name: other.name.clone(),
            is_peer: other.is_peer,
            values: self.summary(&self.of_other(index)),
        });
        Measured {
            what: self.name.clone(),
            unit: self.unit.name(),
            ours: self.summary(&self.ours()).expect("at least one block"),
            others: others.collect(),
            comparisons: self.lines.iter().map(|line| self.comparison(line)).collect(),
        }
    }

    fn ours(&self) -> Vec<f64> {
        self.blocks.iter().flat_map(|block| block.ours.iter().copied()).collect()
    }

    fn of_other(&self, index: usize) -> Vec<f64> {
        let blocks = self.blocks.iter().filter_map(|block| block.others.get(index));
        blocks.flatten().copied().collect()
    }

    fn summary(&self, measured: &[f64]) -> Option<Summary> {
        let value = |part| self.unit.value(percentile(measured, part));
        (!measured.is_empty()).then(|| Summary { median: value(0.5), p99: value(0.99) })
    }

    fn comparison(&self, line: &Line) -> Comparison {
        let (other, shown) = self.named(line.against);
        let ours = self.ours();
        let aim = line.aim.unwrap_or(match self.unit {
            Unit::PerSecond | Unit::Throughput(_) => Aim::Times(0.0),
            Unit::Latency | Unit::Memory | Unit::Count => Aim::Ratio(0.0),
        });
        let pairs = self.blocks.iter().filter_map(|block| {
            let other = block.others.get(other?)?;
            (!other.is_empty()).then(|| aim.compare(&block.ours, other))
        });
        let compared: Vec<f64> = pairs.collect();
        Comparison {
            against: shown,
            other: other.map_or_else(String::new, |other| self.show_other(other)),
            ours: self.unit.show(&ours),
            ratio: aim.show_compared(&compared, self.unit),
            target: line.aim.map_or_else(String::new, |aim| aim.show(self.unit)),
            met: line.aim.and_then(|aim| aim.met(&ours, &compared, self.unit)),
        }
    }

    fn show_other(&self, index: usize) -> String {
        let measured = self.of_other(index);
        if measured.is_empty() {
            return format!("({})", (self.others[index].absence)());
        }
        self.unit.show(&measured)
    }

    fn named(&self, against: Against) -> (Option<usize>, String) {
        match against {
            Against::Nothing => (None, String::new()),
            Against::Other(index) => (Some(index), format!("{}:", self.others[index].name)),
            Against::BestPeer => match self.best_peer() {
                Some(index) => (Some(index), format!("best peer, {}:", self.others[index].name)),
                None => (None, "best peer: none is here".to_owned()),
            },
        }
    }

    fn best_peer(&self) -> Option<usize> {
        let peers = (0..self.others.len()).filter(|&index| self.others[index].is_peer);
        let present = peers.filter(|&index| !self.of_other(index).is_empty());
        let by_time = |index: &usize| median(&self.of_other(*index));
        present.min_by(|a, b| by_time(a).total_cmp(&by_time(b)))
    }
}
