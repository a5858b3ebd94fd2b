//! What was measured, turn by turn: medians, quantiles and spread.

use std::time::Duration;

/// The values of one quantity over all turns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle value; 0 when there is none.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The value that a share of all values do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        // Rounded down, so that the median of two values is the smaller one.
        sorted
            .get((last as f64 * share) as usize)
            .copied()
            .unwrap_or(0.0)
    }

    /// All of them together.
    pub(crate) fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// How far apart the middle half of the values lies, as a part of the median.
    pub(crate) fn spread(&self) -> f64 {
        let median = self.median();
        if median == 0.0 {
            0.0
        } else {
            (self.quantile(0.75) - self.quantile(0.25)) / median
        }
    }
}

impl From<Vec<f64>> for Samples {
    fn from(values: Vec<f64>) -> Self {
        Self(values)
    }
}

impl Extend<f64> for Samples {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        self.0.extend(values);
    }
}

/// A span in microseconds.
pub(crate) fn us(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// A span in milliseconds.
pub(crate) fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let check = |values: &[f64], expected: [f64; 4]| {
            let samples = Samples::from(values.to_vec());
            let got = [
                samples.median(),
                samples.quantile(0.99),
                samples.quantile(1.0),
                samples.spread(),
            ];
            assert_eq!(got, expected, "{values:?}");
        };
        check(&[], [0.0; 4]);
        check(&[3.0], [3.0, 3.0, 3.0, 0.0]);
        check(&[2.0, 1.0], [1.0, 1.0, 2.0, 0.0]);
        check(&[5.0, 1.0, 3.0, 2.0, 4.0], [3.0, 4.0, 5.0, 2.0 / 3.0]);
    }
}
