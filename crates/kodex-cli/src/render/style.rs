//! The few styles that the program uses.

use anstyle::{AnsiColor, Style};
use kodex::Severity;

use crate::invocation::Screen;

pub(crate) const STRONG: Style = Style::new().bold();
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const FAINT: Style = Style::new().dimmed();

/// The style of a severity.
pub(crate) fn severity(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::BrightRed.on_default().bold(),
        Severity::Warning => AnsiColor::BrightYellow.on_default().bold(),
        Severity::Note => AnsiColor::BrightCyan.on_default().bold(),
    }
}

/// The text in a style, where the stream wants styles.
pub(crate) fn paint(text: &str, style: Style, screen: Screen) -> String {
    match screen.is_styled {
        true => format!("{style}{text}{style:#}"),
        false => text.to_owned(),
    }
}
