//! The doctor's report for people.

use std::fmt::Write as _;

use kodex::{Doctor, DoctorPlugin, Severity};

use super::{finding, style, table, text};
use crate::invocation::Screen;

/// The report; `full` adds the plugins that are well.
pub(crate) fn doctor(doctor: &Doctor, full: bool, screen: Screen) -> String {
    let mut out = finding::report(&doctor.findings, screen);
    if full && !doctor.plugins.is_empty() {
        let rows: Vec<_> = doctor.plugins.iter().map(row).collect();
        out.push_str(&table::shown(
            &["NAME", "VERSION", "KIND", "HOOKS", "TOOLS", "SOURCE"],
            &rows,
            screen,
        ));
        out.push('\n');
    }
    // Writing to a String does not fail.
    let _ = writeln!(out, "{}", summary(doctor, screen));
    if let Some(python) = &doctor.python {
        let _ = writeln!(
            out,
            "{}",
            style::paint(
                &format!("Python: {}", text::line(python)),
                style::FAINT,
                screen
            )
        );
    }
    out
}

fn summary(doctor: &Doctor, screen: Screen) -> String {
    let n = |severity: Severity| {
        doctor
            .findings
            .iter()
            .filter(|found| found.diagnostic.severity == severity)
            .count()
    };
    let counted = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let (n_errors, n_warnings) = (n(Severity::Error), n(Severity::Warning));
    let verdict = match (n_errors, n_warnings) {
        (0, 0) => style::paint("all is well", style::GOOD, screen),
        (0, _) => style::paint(
            &counted(n_warnings, "warning"),
            style::severity(Severity::Warning),
            screen,
        ),
        _ => {
            let text = format!(
                "{}, {}",
                counted(n_errors, "error"),
                counted(n_warnings, "warning")
            );
            style::paint(&text, style::severity(Severity::Error), screen)
        }
    };
    format!(
        "{} loaded, {verdict}",
        counted(doctor.plugins.len(), "plugin")
    )
}

fn row(plugin: &DoctorPlugin) -> Vec<String> {
    let listed = |names: &[String]| {
        if names.is_empty() {
            "-".to_owned()
        } else {
            names.join(", ")
        }
    };
    vec![
        plugin.name.clone(),
        plugin.version.clone(),
        plugin.kind.clone(),
        listed(&plugin.hooks),
        listed(&plugin.tools),
        plugin.source.clone(),
    ]
}
