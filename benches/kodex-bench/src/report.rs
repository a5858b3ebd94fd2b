//! One JSON line per figure: Kodex, its peer and its limit, measured in the same run.

use std::io::Write as _;

use serde::Serialize;

/// Whether small or large values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    bench: String,
    case: String,
    value: f64,
    spread: f64,
    unit: String,
    better: Better,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_peer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// The middle of a list; 0 for an empty one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn round(value: f64) -> f64 {
    let digits = if value.abs() >= 100.0 { 10.0 } else { 1000.0 };
    (value * digits).round() / digits
}

impl Figure {
    fn new(bench: &str, case: &str, unit: &str, better: Better, values: Vec<f64>) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let value = median(values);
        Self {
            bench: bench.to_owned(),
            case: case.to_owned(),
            value: round(value),
            spread: round(if value > 0.0 { (high - low) / value } else { 0.0 }),
            unit: unit.to_owned(),
            better,
            peer: None,
            peer_value: None,
            limit: None,
            limit_value: None,
            ratio_peer: None,
            ratio_limit: None,
            target: None,
            met: None,
        }
    }

    /// A figure of which small values are good, from the values of all rounds.
    pub(crate) fn lower(bench: &str, case: &str, unit: &str, values: Vec<f64>) -> Self {
        Self::new(bench, case, unit, Better::Lower, values)
    }

    /// Adds what a user would pick instead.
    pub(crate) fn peer(mut self, name: &str, values: Vec<f64>) -> Self {
        let value = median(values);
        let ratio = match self.better {
            Better::Lower => value / self.value,
            Better::Higher => self.value / value,
        };
        (self.peer, self.peer_value) = (Some(name.to_owned()), Some(round(value)));
        self.ratio_peer = Some(round(ratio));
        self
    }

    /// Adds what nobody can go under.
    pub(crate) fn limit(mut self, name: &str, values: Vec<f64>) -> Self {
        let value = median(values);
        let ratio = match self.better {
            Better::Lower => self.value / value,
            Better::Higher => value / self.value,
        };
        (self.limit, self.limit_value) = (Some(name.to_owned()), Some(round(value)));
        self.ratio_limit = Some(round(ratio));
        self
    }

    /// Adds the target and whether it is met. Known forms: `ratio_peer>=X`, `ratio_limit<=X`,
    /// `value<=X`, joined by `and`.
    pub(crate) fn target(mut self, target: &str) -> Self {
        self.met = Some(target.split(" and ").all(|part| self.meets(part)));
        self.target = Some(target.to_owned());
        self
    }

    fn meets(&self, part: &str) -> bool {
        let read = |name: &str| match name {
            "ratio_peer" => self.ratio_peer,
            "ratio_limit" => self.ratio_limit,
            _ => Some(self.value),
        };
        if let Some((name, bound)) = part.split_once(">=") {
            return read(name).zip(bound.parse().ok()).is_some_and(|(got, bound): (f64, f64)| got >= bound);
        }
        let Some((name, bound)) = part.split_once("<=") else { return false };
        read(name).zip(bound.parse().ok()).is_some_and(|(got, bound): (f64, f64)| got <= bound)
    }
}

/// Prints figures as they come and remembers whether all targets were met.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) n_missed: usize,
}

impl Report {
    /// Prints a figure.
    pub(crate) fn add(&mut self, figure: Figure) {
        self.n_missed += usize::from(figure.met == Some(false));
        let line = serde_json::to_string(&figure).expect("figures are plain data");
        // Whoever closed the pipe wants no more lines.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
