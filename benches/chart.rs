//! Draws what the benchmark `overhead` has written as JSON.
//!
//! ```text
//! cargo bench -p procpool-benches --bench overhead -- --peers --json "$PWD/run.json"
//! cargo run -p procpool-benches --example chart -- run.json docs/benchmark.svg
//! ```
//!
//! One panel for each row that has peers and is about time: a bar for this pool and one for each
//! peer, on a logarithmic scale, the best first. The colors are those of the reader's theme, light
//! or dark.

use std::error::Error;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

const WIDTH: f64 = 860.0;
/// Where bars begin, and the most that one takes.
const LEFT: f64 = 190.0;
const LONGEST: f64 = 520.0;
const BAR: f64 = 22.0;
const MARGIN: f64 = 20.0;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 15px; }
  .note { font-size: 11px; fill: #57606a; }
  .name { text-anchor: end; }
  .ours { fill: #b7410e; }
  .peer { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #9198a1; }
    .ours { fill: #f0883e; }
    .peer { fill: #6e7681; }
  }
";

#[derive(Deserialize)]
struct Run {
    machine: Machine,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Machine {
    cpu: String,
    cpus: u32,
    system: String,
    date: String,
    load: f64,
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Row {
    what: String,
    unit: String,
    ours: Summary,
    others: Vec<Other>,
}

#[derive(Deserialize)]
struct Other {
    name: String,
    is_peer: bool,
    values: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    median: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(json), Some(svg)) = (args.next(), args.next()) else {
        return Err("usage: chart RUN.json CHART.svg".into());
    };
    let run: Run = serde_json::from_reader(BufReader::new(File::open(json)?))?;
    let panels: Vec<Panel> = run.rows.iter().filter_map(Panel::new).collect();
    if panels.is_empty() {
        return Err("no row has a peer to be compared with".into());
    }
    if let Some(folder) = Path::new(&svg).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&svg, draw(&panels, &run.machine)?)?;
    println!("{svg} has {} panels", panels.len());
    Ok(())
}

/// What one row shows.
struct Panel {
    title: String,
    bars: Vec<Bar>,
    unit: &'static str,
}

struct Bar {
    name: String,
    value: f64,
    is_ours: bool,
}

impl Panel {
    fn new(row: &Row) -> Option<Self> {
        let (unit, less_is_better) = match row.unit.as_str() {
            "seconds" => ("s", true),
            "per second" => ("/s", false),
            "bytes per second" => ("B/s", false),
            _ => return None,
        };
        let peers = row.others.iter().filter(|other| other.is_peer);
        let mut bars: Vec<Bar> = peers
            .filter_map(|peer| {
                let value = peer.values.as_ref()?.median;
                Some(Bar { name: peer.name.clone(), value, is_ours: false })
            })
            .collect();
        if bars.is_empty() {
            return None;
        }
        bars.push(Bar { name: "procpool".to_owned(), value: row.ours.median, is_ours: true });
        bars.sort_by(|a, b| a.value.total_cmp(&b.value));
        let direction = if less_is_better {
            "shorter is better"
        } else {
            bars.reverse();
            "longer is better"
        };
        Some(Self { title: format!("{} ({direction})", row.what), bars, unit })
    }

    fn height(&self) -> f64 {
        self.bars.iter().map(|_| BAR).sum::<f64>() + 2.0 * BAR
    }

    /// The length of a bar: a decade is as long everywhere in the panel, and begins at a power of
    /// ten.
    fn length(&self, value: f64) -> f64 {
        let logarithms = || self.bars.iter().map(|bar| bar.value.log10());
        let first = logarithms().fold(f64::INFINITY, f64::min).floor();
        let last = logarithms().fold(f64::NEG_INFINITY, f64::max);
        // The least one is to be seen, too.
        let share = |value: f64| value.log10() - first + 0.3;
        LONGEST * share(value) / share(10_f64.powf(last))
    }
}

fn draw(panels: &[Panel], machine: &Machine) -> Result<String, std::fmt::Error> {
    let footer = notes(machine);
    let lines = footer.iter().map(|_| 16.0).sum::<f64>();
    let height = MARGIN * 2.0 + panels.iter().map(Panel::height).sum::<f64>() + lines;
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">"#
    )?;
    writeln!(svg, "<title>procpool and other process pools</title>")?;
    writeln!(svg, "<style>{STYLE}</style>")?;
    let mut top = MARGIN;
    for panel in panels {
        draw_panel(&mut svg, panel, top)?;
        top += panel.height();
    }
    for line in footer {
        top += 16.0;
        text(&mut svg, "note", MARGIN, top, &line)?;
    }
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn draw_panel(svg: &mut String, panel: &Panel, top: f64) -> std::fmt::Result {
    text(svg, "title", MARGIN, top + 16.0, &panel.title)?;
    let mut top = top + BAR;
    for bar in &panel.bars {
        top += 4.0;
        let (class, length) = (if bar.is_ours { "ours" } else { "peer" }, panel.length(bar.value));
        text(svg, "name", LEFT - 8.0, top + 13.0, &bar.name)?;
        let thickness = BAR - 4.0;
        writeln!(
            svg,
            r#"<rect class="{class}" x="{LEFT}" y="{top}" width="{length:.1}" height="{thickness}" rx="2"/>"#
        )?;
        text(svg, "value", LEFT + length + 8.0, top + 13.0, &show(bar.value, panel.unit))?;
        top += thickness;
    }
    Ok(())
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) -> std::fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(svg, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#)
}

/// With three digits and a prefix of the unit.
fn show(value: f64, unit: &str) -> String {
    let prefixes = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")];
    let fits = prefixes.into_iter().find(|(size, _)| value >= *size);
    let (size, prefix) = fits.unwrap_or((1e-9, "n"));
    let scaled = value / size;
    let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
    // A rate of things has its prefix at the number: 2.00M/s.
    let blank = if unit.starts_with('/') { "" } else { " " };
    format!("{scaled:.digits$}{blank}{prefix}{unit}")
}

fn notes(machine: &Machine) -> [String; 4] {
    let Machine { cpu, cpus, system, date, load, versions } = machine;
    let is_busy = *load > 0.25 * f64::from(*cpus);
    let busy = if is_busy { " by other work, so not a fair picture" } else { "" };
    [
        "Logarithmic scales: a bar shows powers of ten. Medians of one run in which all take turns."
            .to_owned(),
        "Two workers each; piscina has threads, the others have processes.".to_owned(),
        format!("Measured on {date}: {cpu}, {cpus} CPUs, {system}; load before the run {load}{busy}."),
        versions.join(", "),
    ]
}
