//! Prometheus' text format: a family is a name, a kind and a sentence, then one line for each series.

use std::fmt::Write as _;

/// What a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page under way.
#[derive(Debug, Default)]
pub(super) struct Page {
    out: String,
}

/// A family under way.
pub(super) struct Family<'a> {
    out: &'a mut String,
    name: &'static str,
}

impl Page {
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String does not fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            out: &mut self.out,
            name,
        }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

impl Family<'_> {
    pub(super) fn row(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, value);
        self
    }

    /// Buckets come with how many fell into each alone; the format wants sums from the first on.
    pub(super) fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (Option<f64>, u64)>,
        sum: f64,
    ) {
        let mut n_all = 0_u64;
        for (bound, n) in buckets {
            n_all = n_all.saturating_add(n);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let mut with_bound = labels.to_vec();
            with_bound.push(("le", &bound));
            self.line("_bucket", &with_bound, super::whole(n_all));
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, super::whole(n_all));
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str(self.name);
        self.out.push_str(ending);
        for (place, (name, text)) in labels.iter().enumerate() {
            self.out.push(if place == 0 { '{' } else { ',' });
            self.out.push_str(name);
            self.out.push_str("=\"");
            escape(text, self.out);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Page};

    #[test]
    fn a_page_is_as_prometheus_reads_it() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "Things.")
            .row(&[], 3.0)
            .row(&[("p", "x\"\\\ny"), ("q", "")], 0.5);
        page.family("b_seconds", Kind::Histogram, "Spans.")
            .histogram(
                &[("p", "x")],
                [(Some(1e-6), 2), (Some(0.05), 0), (None, 1)].into_iter(),
                0.25,
            );
        let want = r#"# HELP a_total Things.
# TYPE a_total counter
a_total 3
a_total{p="x\"\\\ny",q=""} 0.5
# HELP b_seconds Spans.
# TYPE b_seconds histogram
b_seconds_bucket{p="x",le="0.000001"} 2
b_seconds_bucket{p="x",le="0.05"} 2
b_seconds_bucket{p="x",le="+Inf"} 3
b_seconds_sum{p="x"} 0.25
b_seconds_count{p="x"} 3
"#;
        assert_eq!(page.finish(), want);
    }
}
