//! Tables for terminals.

use comfy_table::{ContentArrangement, Table, presets};

use super::{style, text};
use crate::invocation::Screen;

/// Narrower tables cannot be read; a terminal that claims less wraps the lines itself.
const LEAST_WIDTH: u16 = 40;
/// Where the terminal does not say.
const USUAL_WIDTH: u16 = 100;

/// A table with a head, as wide as the terminal. Cells may hold anything; it is spelled out.
pub(crate) fn shown(head: &[&str], rows: &[Vec<String>], screen: Screen) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width())
        .set_header(head.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| text::line(cell).into_owned()));
    }
    let mut out = String::new();
    for (index, line) in table.lines().enumerate() {
        let line = line.trim_end();
        // The preset sets every column in by one blank.
        let line = line.strip_prefix(' ').unwrap_or(line);
        match (index, line.split_once(' ')) {
            (0, _) => out.push_str(&style::paint(line, style::STRONG, screen)),
            (_, Some((name, rest))) if !name.is_empty() => {
                out.push_str(&style::paint(name, style::NAME, screen));
                out.push(' ');
                out.push_str(rest);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

fn width() -> u16 {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(USUAL_WIDTH, |size| {
        if size.ws_col == 0 {
            USUAL_WIDTH
        } else {
            size.ws_col
        }
    })
    .max(LEAST_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_reaches_the_terminal_as_a_command() {
        let plain = Screen {
            is_terminal: true,
            is_styled: false,
        };
        let rows = [
            vec!["a".to_owned(), "one\x1b[31m".to_owned()],
            vec!["longer".to_owned(), "x\ny".to_owned()],
        ];
        let got = shown(&["NAME", "WHAT"], &rows, plain);
        assert_eq!(got, "NAME    WHAT\na       one\\u{1b}[31m\nlonger  x\\ny\n");
    }
}
