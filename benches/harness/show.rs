//! Values as the table shows them, and what they should be.

use std::time::Duration;

/// How a measured value is shown.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Median and 99th percentile.
    Latency,
    PerSecond,
    /// For operations that move so many bytes.
    Throughput(usize),
    Memory,
    Count,
}

/// What is to be reached, in the median if nothing else is said.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    /// So many times what the other takes, at most.
    Ratio(f64),
    /// The same for the 99th percentiles.
    TailRatio(f64),
    /// So many times as fast as the other, at least.
    Times(f64),
    /// Not more than so much above the other.
    Above(f64),
    PerSecond(f64),
    BytesPerSecond(f64),
    /// Seconds, bytes, or a count.
    AtMost(f64),
}

impl Unit {
    /// What JSON calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Latency => "seconds",
            Self::PerSecond => "per second",
            Self::Throughput(_) => "bytes per second",
            Self::Memory => "bytes",
            Self::Count => "count",
        }
    }

    /// In the unit that its name says.
    pub(super) fn value(self, measured: f64) -> f64 {
        match self {
            Self::PerSecond => 1.0 / measured,
            #[expect(clippy::cast_precision_loss, reason = "payloads are below 2^52 bytes")]
            Self::Throughput(bytes) => bytes as f64 / measured,
            Self::Latency | Self::Memory | Self::Count => measured,
        }
    }

    pub(super) fn show(self, measured: &[f64]) -> String {
        if measured.is_empty() {
            return "–".to_owned();
        }
        if matches!(self, Self::Latency) && measured.len() >= 100 {
            let shown = [0.5, 0.99].map(|part| show_time(percentile(measured, part)));
            return format!("p50 {}  p99 {}", shown[0], shown[1]);
        }
        let values: Vec<f64> = measured.iter().map(|&value| self.value(value)).collect();
        spread(&values, |value| self.show_value(value))
    }

    fn show_value(self, value: f64) -> String {
        match self {
            Self::Latency => show_time(value),
            Self::PerSecond => show_rate(value),
            Self::Throughput(_) => show_throughput(value),
            Self::Memory => show_memory(value),
            Self::Count => format!("{value:.0}"),
        }
    }
}

impl Aim {
    pub(super) fn show(self, unit: Unit) -> String {
        match self {
            Self::Ratio(most) => format!("<= {most} ×"),
            Self::TailRatio(most) => format!("p99 <= {most} ×"),
            Self::Times(least) => format!(">= {least} × as fast"),
            Self::Above(most) => format!("<= + {}", unit.show_value(most)),
            Self::PerSecond(least) => format!(">= {}", show_rate(least)),
            Self::BytesPerSecond(least) => format!(">= {}", show_throughput(least)),
            Self::AtMost(most) => format!("<= {}", unit.show_value(most)),
        }
    }

    /// What it is about, of a block that has something to compare with.
    pub(super) fn compare(self, ours: &[f64], other: &[f64]) -> f64 {
        let part = if matches!(self, Self::TailRatio(_)) { 0.99 } else { 0.5 };
        let (ours, other) = (percentile(ours, part), percentile(other, part));
        match self {
            Self::Times(_) => other / ours,
            Self::Above(_) => ours - other,
            _ => ours / other,
        }
    }

    pub(super) fn show_compared(self, compared: &[f64], unit: Unit) -> String {
        spread(compared, |value| match self {
            Self::Above(_) => format!("+ {}", unit.show_value(value)),
            _ if value < 100.0 => format!("{value:.2}"),
            _ => format!("{value:.0}"),
        })
    }

    /// Whether it is reached; `None` if that was not measured.
    pub(super) fn met(self, ours: &[f64], compared: &[f64], unit: Unit) -> Option<bool> {
        let compared = || (!compared.is_empty()).then(|| median(compared));
        let value = || unit.value(median(ours));
        match self {
            Self::Ratio(most) | Self::TailRatio(most) | Self::Above(most) => {
                compared().map(|compared| compared <= most)
            }
            Self::Times(least) => compared().map(|compared| compared >= least),
            Self::PerSecond(least) | Self::BytesPerSecond(least) => Some(value() >= least),
            Self::AtMost(most) => Some(value() <= most),
        }
    }
}

/// The median with the lowest and the highest value.
pub(super) fn spread(values: &[f64], show: impl Fn(f64) -> String) -> String {
    match values {
        [] => "–".to_owned(),
        [value] => show(*value),
        _ => {
            let [low, middle, high] = [0.0, 0.5, 1.0].map(|part| show(percentile(values, part)));
            format!("{middle} ({low}..{high})")
        }
    }
}

fn show_rate(per_second: f64) -> String {
    if per_second < 1e4 {
        format!("{per_second:.0}/s")
    } else if per_second < 1e6 {
        format!("{:.0}k/s", per_second / 1e3)
    } else {
        format!("{:.2}M/s", per_second / 1e6)
    }
}

fn show_throughput(bytes_per_second: f64) -> String {
    format!("{:.2} GB/s", bytes_per_second / 1e9)
}

fn show_memory(bytes: f64) -> String {
    if bytes.abs() < 1e4 {
        format!("{bytes:.0} B")
    } else if bytes.abs() < 1e6 {
        format!("{:.0} kB", bytes / 1e3)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}

fn show_time(seconds: f64) -> String {
    format!("{:.1?}", Duration::from_secs_f64(seconds))
}

pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The nearest value to the given part of all, which are not empty.
#[expect(clippy::cast_precision_loss, reason = "there are far less than 2^52")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is an index")]
pub(super) fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}
