//! Runs cases in turn, a small block of each at a time, so that a noisy moment of the machine hits
//! all of them and both sides of every comparison. Prints one table.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]

use std::time::Duration;

/// Durations of single operations, in seconds; for [`Unit::Memory`] bytes.
pub(crate) struct Block {
    /// What the machine allows, measured next to `ours`; empty if there is nothing to compare with.
    pub(crate) reference: Vec<f64>,
    pub(crate) ours: Vec<f64>,
}

/// Measures one block.
pub(crate) type Measure = Box<dyn FnMut() -> Block>;

/// A row of the table.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) aim: Option<Aim>,
    pub(crate) blocks: usize,
    /// Sets up what the measurement needs; not called for a case that is filtered out.
    pub(crate) prepare: Box<dyn FnOnce() -> Measure>,
}

/// How a measured value is shown.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Median and 99th percentile.
    Latency,
    PerSecond,
    /// For operations that move so many bytes.
    Throughput(usize),
    Memory,
}

#[derive(Clone, Copy)]
pub(crate) enum Aim {
    /// Median ratio to the reference.
    Ratio(f64),
    PerSecond(f64),
    /// Median seconds, or bytes.
    AtMost(f64),
}

/// What the command line asks for.
pub(crate) struct Options {
    filter: Option<String>,
    /// Fewer and smaller blocks: shows that everything works, measures little.
    pub(crate) quick: bool,
}

impl Options {
    /// Ignores flags that it does not know, such as the `--bench` that cargo adds.
    pub(crate) fn from_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let quick = args.iter().any(|arg| arg == "--quick");
        let filter = args.into_iter().find(|arg| !arg.starts_with("--"));
        Self { filter, quick }
    }

    fn wants(&self, case: &Case) -> bool {
        self.filter.as_ref().is_none_or(|filter| case.name.contains(filter.as_str()))
    }
}

struct Row {
    name: String,
    unit: Unit,
    aim: Option<Aim>,
    left: usize,
    measure: Measure,
    blocks: Vec<Block>,
}

/// Measures all cases and prints the table.
pub(crate) fn run(options: &Options, cases: Vec<Case>) {
    let cases = cases.into_iter().filter(|case| options.wants(case));
    let mut rows: Vec<Row> = cases.map(Row::prepare).collect();
    while rows.iter().any(|row| row.left > 0) {
        for row in rows.iter_mut().filter(|row| row.left > 0) {
            row.left -= 1;
            row.blocks.push((row.measure)());
        }
    }
    let header = ["", "floor or reference", "ours", "ours/floor: median (min..max)", "aim", "met"];
    let header = header.map(str::to_owned);
    print_table(&std::iter::once(header).chain(rows.iter().map(Row::cells)).collect::<Vec<_>>());
}

impl Row {
    fn prepare(case: Case) -> Self {
        let Case { name, unit, aim, blocks, prepare } = case;
        let mut measure = prepare();
        measure(); // warms up
        Self { name, unit, aim, left: blocks, measure, blocks: Vec::new() }
    }

    fn cells(&self) -> [String; 6] {
        let reference: Vec<f64> = self.blocks.iter().flat_map(|b| b.reference.clone()).collect();
        let ours: Vec<f64> = self.blocks.iter().flat_map(|b| b.ours.clone()).collect();
        let ratios: Vec<f64> = self.blocks.iter().filter_map(Block::ratio).collect();
        let met = self.aim.map(|aim| match aim {
            Aim::Ratio(most) => median(&ratios) <= most,
            Aim::PerSecond(least) => 1.0 / median(&ours) >= least,
            Aim::AtMost(most) => median(&ours) <= most,
        });
        [
            self.name.clone(),
            self.unit.show(&reference),
            self.unit.show(&ours),
            spread(&ratios, |ratio| format!("{ratio:.2}")),
            self.aim.map_or_else(String::new, |aim| aim.show(self.unit)),
            met.map_or("", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]
    }
}

impl Block {
    fn ratio(&self) -> Option<f64> {
        (!self.reference.is_empty()).then(|| median(&self.ours) / median(&self.reference))
    }
}

impl Unit {
    fn show(self, values: &[f64]) -> String {
        match self {
            _ if values.is_empty() => "–".to_owned(),
            Self::Latency => {
                let shown = [0.5, 0.99].map(|part| show_time(percentile(values, part)));
                format!("p50 {}  p99 {}", shown[0], shown[1])
            }
            Self::PerSecond => rates(values, |second| show_rate(1.0 / second)),
            Self::Throughput(bytes) => {
                rates(values, |second| format!("{:.0} MB/s", bytes as f64 * 1e-6 / second))
            }
            Self::Memory => spread(values, show_memory),
        }
    }
}

impl Aim {
    fn show(self, unit: Unit) -> String {
        match self {
            Self::Ratio(most) => format!("<= {most}"),
            Self::PerSecond(least) => format!(">= {}", show_rate(least)),
            Self::AtMost(bytes) if matches!(unit, Unit::Memory) => {
                format!("<= {}", show_memory(bytes))
            }
            Self::AtMost(seconds) => format!("<= {}", show_time(seconds)),
        }
    }
}

/// The lowest rate first: it belongs to the longest time.
fn rates(seconds: &[f64], show: impl Fn(f64) -> String) -> String {
    let negated: Vec<f64> = seconds.iter().map(|second| -second).collect();
    spread(&negated, |second| show(-second))
}

fn spread(values: &[f64], show: impl Fn(f64) -> String) -> String {
    if values.is_empty() {
        return "–".to_owned();
    }
    let [low, middle, high] = [0.0, 0.5, 1.0].map(|part| show(percentile(values, part)));
    format!("{middle} ({low}..{high})")
}

fn show_rate(per_second: f64) -> String {
    if per_second < 1e4 {
        format!("{per_second:.0}/s")
    } else {
        format!("{:.0}k/s", per_second / 1e3)
    }
}

fn show_memory(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

fn show_time(seconds: f64) -> String {
    format!("{:.1?}", Duration::from_secs_f64(seconds))
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The nearest value to the given part of all, which are not empty.
fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn print_table(rows: &[[String; 6]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    for row in rows {
        let cells = row.iter().enumerate();
        let line: Vec<String> =
            cells.map(|(column, cell)| format!("{cell:0$}", width(column).unwrap_or(0))).collect();
        println!("{}", line.join("  ").trim_end());
    }
}
