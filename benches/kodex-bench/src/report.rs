//! One JSON line per figure: Kodex, its peer and its limit, measured in the same run.

use std::io::Write as _;

use serde::Serialize;

use crate::samples::Samples;

/// Whether small or large values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    Lower,
    Higher,
}

/// One figure.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    bench: &'static str,
    case: String,
    unit: &'static str,
    better: Better,
    value: f64,
    spread: f64,
    peer: Option<(String, f64)>,
    limit: Option<(String, f64)>,
    target: Option<String>,
}

/// A figure as it is printed. What was not measured is left out.
#[derive(Serialize)]
struct Line<'a> {
    bench: &'a str,
    case: &'a str,
    value: f64,
    unit: &'a str,
    better: Better,
    spread: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_peer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// Large values without digits behind the point, small ones with three.
fn round(value: f64) -> f64 {
    let digits = match value.abs() {
        1000.0.. => 1.0,
        100.0.. => 10.0,
        10.0.. => 100.0,
        _ => 1000.0,
    };
    // Minus zero is zero to a reader.
    (value * digits).round() / digits + 0.0
}

impl Figure {
    fn new(
        bench: &'static str,
        case: &str,
        unit: &'static str,
        better: Better,
        values: &Samples,
    ) -> Self {
        Self {
            bench,
            case: case.to_owned(),
            unit,
            better,
            value: values.median(),
            spread: values.spread(),
            peer: None,
            limit: None,
            target: None,
        }
    }

    /// A figure of which small values are good, from the values of all turns.
    pub(crate) fn lower(
        bench: &'static str,
        case: &str,
        unit: &'static str,
        values: &Samples,
    ) -> Self {
        Self::new(bench, case, unit, Better::Lower, values)
    }

    /// A figure of which large values are good.
    pub(crate) fn higher(
        bench: &'static str,
        case: &str,
        unit: &'static str,
        values: &Samples,
    ) -> Self {
        Self::new(bench, case, unit, Better::Higher, values)
    }

    /// Adds what a user would pick instead. Without values it is not there, and what is asked of
    /// it is not met.
    pub(crate) fn peer(mut self, name: &str, values: &Samples) -> Self {
        self.peer = (!values.is_empty()).then(|| (name.to_owned(), values.median()));
        self
    }

    /// Adds what nobody can go under.
    pub(crate) fn limit(mut self, name: &str, values: &Samples) -> Self {
        self.limit = (!values.is_empty()).then(|| (name.to_owned(), values.median()));
        self
    }

    /// Adds the target: `ratio_peer>=X`, `ratio_limit<=X` and `value<=X`, joined by ` and ` or, which
    /// binds closer, by ` or `.
    ///
    /// A bound in units of time was set on one machine. Beside it stands the same bound in units of
    /// the limit, as it was on that machine, so that a slower one is not to blame.
    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = Some(target.to_owned());
        self
    }

    /// How many times better than the peer.
    fn ratio_peer(&self) -> Option<f64> {
        let (_, peer) = self.peer.as_ref()?;
        let ratio = match self.better {
            Better::Lower => peer / self.value,
            Better::Higher => self.value / peer,
        };
        // Nothing is measured as nothing now and then; no number says how many times better that is.
        ratio.is_finite().then_some(ratio)
    }

    /// How many times the limit's cost.
    fn ratio_limit(&self) -> Option<f64> {
        let (_, limit) = self.limit.as_ref()?;
        let ratio = match self.better {
            Better::Lower => self.value / limit,
            Better::Higher => limit / self.value,
        };
        ratio.is_finite().then_some(ratio)
    }

    /// Whether the target is met; a part that cannot be judged is not.
    fn met(&self) -> Option<bool> {
        let mut parts = self.target.as_ref()?.split(" and ");
        Some(parts.all(|part| part.split(" or ").any(|either| self.meets(either))))
    }

    fn meets(&self, part: &str) -> bool {
        let read = |name: &str, bound: &str| {
            let value = match name {
                "ratio_peer" => self.ratio_peer(),
                "ratio_limit" => self.ratio_limit(),
                "value" => Some(self.value),
                _ => None,
            };
            value.zip(bound.parse::<f64>().ok())
        };
        let held = match (part.split_once(">="), part.split_once("<=")) {
            (Some((name, bound)), _) => read(name, bound).map(|(got, bound)| got >= bound),
            (None, Some((name, bound))) => read(name, bound).map(|(got, bound)| got <= bound),
            (None, None) => None,
        };
        held.unwrap_or(false)
    }

    fn line(&self) -> Line<'_> {
        Line {
            bench: self.bench,
            case: &self.case,
            value: round(self.value),
            unit: self.unit,
            better: self.better,
            spread: round(self.spread),
            peer: self.peer.as_ref().map(|(name, _)| name.as_str()),
            peer_value: self.peer.as_ref().map(|(_, value)| round(*value)),
            limit: self.limit.as_ref().map(|(name, _)| name.as_str()),
            limit_value: self.limit.as_ref().map(|(_, value)| round(*value)),
            ratio_peer: self.ratio_peer().map(round),
            ratio_limit: self.ratio_limit().map(round),
            target: self.target.as_deref(),
            met: self.met(),
        }
    }
}

/// Prints figures as they come and counts the targets that were missed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) n_missed: usize,
}

impl Report {
    /// Prints a figure.
    pub(crate) fn add(&mut self, figure: &Figure) {
        self.n_missed += usize::from(figure.met() == Some(false));
        let line = serde_json::to_string(&figure.line()).expect("figures are plain data");
        // Whoever closed the pipe wants no more lines.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(value: f64) -> Samples {
        vec![value].into()
    }

    fn check(figure: &Figure, target: &str, expected: &str) {
        let figure = figure.clone().target(target);
        let line = serde_json::to_value(figure.line()).unwrap();
        let got = format!(
            "{} {} {}",
            line["ratio_peer"], line["ratio_limit"], line["met"]
        );
        assert_eq!(got, expected, "{target}");
    }

    #[test]
    fn targets_are_judged_in_both_directions() {
        let lower = Figure::lower("b", "c", "ns", &samples(50.0))
            .peer("slow", &samples(300.0))
            .limit("bare", &samples(25.0));
        check(&lower, "ratio_peer>=6", "6.0 2.0 true");
        check(&lower, "ratio_peer>=6.1", "6.0 2.0 false");
        check(&lower, "ratio_limit<=2 and value<=50", "6.0 2.0 true");
        check(&lower, "ratio_limit<=2 and value<=49", "6.0 2.0 false");
        check(
            &lower,
            "ratio_peer>=6 and value<=49 or ratio_limit<=2",
            "6.0 2.0 true",
        );
        check(
            &lower,
            "ratio_peer>=7 and value<=49 or ratio_limit<=2",
            "6.0 2.0 false",
        );
        let higher = Figure::higher("b", "c", "1/s", &samples(50.0))
            .peer("slow", &samples(10.0))
            .limit("bare", &samples(100.0));
        check(&higher, "ratio_peer>=5", "5.0 2.0 true");
        check(&higher, "ratio_limit<=1.9", "5.0 2.0 false");
    }

    #[test]
    fn what_cannot_be_judged_is_not_met() {
        let alone =
            Figure::lower("b", "c", "ns", &samples(1.0)).peer("absent", &Samples::default());
        check(&alone, "ratio_peer>=1", "null null false");
        check(&alone, "ratio_limit<=1", "null null false");
        check(&alone, "speed>=1", "null null false");
        check(&alone, "value<=one", "null null false");
        assert_eq!(serde_json::to_value(alone.line()).unwrap().get("met"), None);
    }

    #[test]
    fn values_are_rounded_to_what_they_say() {
        let check = |value, expected| assert_eq!(round(value), expected);
        check(0.123_456, 0.123);
        check(12.345_6, 12.35);
        check(123.456, 123.5);
        check(12_345.6, 12_346.0);
        check(-0.000_1, 0.0);
        assert!(round(-0.000_1).is_sign_positive());
    }
}
