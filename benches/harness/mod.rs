//! Runs cases in turn, a small block of each at a time, so that a noisy moment of the machine hits
//! all of them and both sides of every comparison. Prints one table, and writes it down on request.

#![allow(dead_code, reason = "each benchmark uses its own part of this")]

mod machine;
mod report;
mod show;

use std::path::PathBuf;

use report::{Report, Row};
pub(crate) use show::{Aim, Unit};

/// Durations of single operations, in seconds; or what else the [`Unit`] says.
pub(crate) struct Block {
    pub(crate) ours: Vec<f64>,
    /// The same for each [`Other`] of the case, measured next to `ours`; empty for one that is
    /// absent.
    pub(crate) others: Vec<Vec<f64>>,
}

impl Block {
    pub(crate) fn alone(ours: f64) -> Self {
        Self { ours: vec![ours], others: Vec::new() }
    }

    pub(crate) fn against(other: Vec<f64>, ours: f64) -> Self {
        Self { ours: vec![ours], others: vec![other] }
    }
}

/// Measures one block.
pub(crate) type Measure = Box<dyn FnMut() -> Block>;

/// What is measured, and what it is compared with: one line of the table or a few.
pub(crate) struct Case {
    name: String,
    unit: Unit,
    blocks: usize,
    others: Vec<Other>,
    lines: Vec<Line>,
    prepare: Box<dyn FnOnce() -> Measure>,
}

/// What ours is compared with.
pub(crate) struct Other {
    name: String,
    is_peer: bool,
    /// Why there is nothing to compare with, if it is absent.
    absence: Box<dyn Fn() -> String>,
}

/// One line of the table.
pub(crate) struct Line {
    against: Against,
    aim: Option<Aim>,
}

#[derive(Clone, Copy)]
enum Against {
    Nothing,
    Other(usize),
    BestPeer,
}

impl Case {
    /// `prepare` sets up what the measurement needs, and is not called if the case is filtered out.
    pub(crate) fn new(
        name: impl Into<String>,
        unit: Unit,
        blocks: usize,
        prepare: impl FnOnce() -> Measure + 'static,
    ) -> Self {
        let (others, lines) = (Vec::new(), Vec::new());
        Self { name: name.into(), unit, blocks, others, lines, prepare: Box::new(prepare) }
    }

    /// What is to be reached whatever others do.
    pub(crate) fn aim(mut self, aim: Aim) -> Self {
        self.lines.push(Line { against: Against::Nothing, aim: Some(aim) });
        self
    }

    /// Compares with the next one of [`Block::others`]: what the machine allows.
    pub(crate) fn floor(mut self, name: &str, aims: &[Aim]) -> Self {
        let (is_peer, absence) = (false, Box::new(|| "nothing measured".to_owned()));
        self.others.push(Other { name: name.to_owned(), is_peer, absence });
        self.compare(aims)
    }

    /// Compares with the next one of [`Block::others`]: another pool.
    pub(crate) fn peer(
        mut self,
        name: &str,
        absence: impl Fn() -> String + 'static,
        aims: &[Aim],
    ) -> Self {
        let absence = Box::new(absence);
        self.others.push(Other { name: name.to_owned(), is_peer: true, absence });
        self.compare(aims)
    }

    fn compare(mut self, aims: &[Aim]) -> Self {
        let against = Against::Other(self.others.len() - 1);
        if aims.is_empty() {
            self.lines.push(Line { against, aim: None });
        }
        self.lines.extend(aims.iter().map(|&aim| Line { against, aim: Some(aim) }));
        self
    }

    /// What is to be reached against the fastest of the peers that are present.
    pub(crate) fn best_peer(mut self, aim: Aim) -> Self {
        self.lines.push(Line { against: Against::BestPeer, aim: Some(aim) });
        self
    }
}

/// What the command line asks for.
pub(crate) struct Options {
    filter: Option<String>,
    /// Fewer and smaller blocks: shows that everything works, measures little.
    pub(crate) quick: bool,
    /// Whether peers that have to be built may be.
    pub(crate) peers: bool,
    json: Option<PathBuf>,
}

impl Options {
    /// Ignores flags that it does not know, such as the `--bench` that cargo adds.
    pub(crate) fn from_args() -> Self {
        let mut args = std::env::args().skip(1);
        let mut options = Self { filter: None, quick: false, peers: false, json: None };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--peers" => options.peers = true,
                "--json" => options.json = args.next().map(PathBuf::from),
                flag if flag.starts_with("--") => {}
                _ => options.filter = Some(arg),
            }
        }
        options
    }

    /// The number of blocks, or of operations in a block.
    pub(crate) fn scale(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }

    fn wants(&self, case: &Case) -> bool {
        self.filter.as_ref().is_none_or(|filter| case.name.contains(filter.as_str()))
    }
}

/// A case while it is measured.
struct Running {
    case: Row,
    left: usize,
    measure: Measure,
}

impl Running {
    fn prepare(case: Case) -> Self {
        let Case { name, unit, blocks, others, mut lines, prepare } = case;
        if lines.is_empty() {
            lines.push(Line { against: Against::Nothing, aim: None });
        }
        let mut measure = prepare();
        measure(); // warms up
        Self { case: Row { name, unit, others, lines, blocks: Vec::new() }, left: blocks, measure }
    }
}

/// Measures all cases and prints the table. `versions` says which peers there were.
pub(crate) fn run(options: &Options, cases: Vec<Case>, versions: impl FnOnce() -> Vec<String>) {
    let load = machine::load();
    let cases = cases.into_iter().filter(|case| options.wants(case));
    let mut running: Vec<Running> = cases.map(Running::prepare).collect();
    while running.iter().any(|case| case.left > 0) {
        for case in running.iter_mut().filter(|case| case.left > 0) {
            case.left -= 1;
            case.case.blocks.push((case.measure)());
        }
    }
    let rows: Vec<Row> = running.into_iter().map(|running| running.case).collect();
    let report = Report::new(&rows, load, versions());
    report.print();
    if let Some(path) = &options.json {
        report.write(path).expect("a file that can be written");
    }
}
