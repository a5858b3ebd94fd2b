//! Small readings of source text that several rules share.

/// The lines of a Rust file before its tests, with their numbers.
pub(super) fn production_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let n_lines = first_test_line(text).unwrap_or(usize::MAX);
    numbered(text).take_while(move |(number, _)| *number < n_lines)
}

/// The lines of a Rust file that belong to its test module, with their numbers.
pub(super) fn test_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let first = first_test_line(text).unwrap_or(usize::MAX);
    numbered(text).skip_while(move |(number, _)| *number < first)
}

/// Lines with their numbers, from 1.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// Tests stand at the end of a file; an item that is only marked for tests is no test module.
fn first_test_line(text: &str) -> Option<usize> {
    let mut previous = "";
    for (number, line) in numbered(text) {
        if previous.starts_with("#[cfg(") && previous.contains("test") && line.starts_with("mod ") {
            return Some(number - 1);
        }
        previous = line;
    }
    None
}

/// Whether `word` stands in `text` with no letter, digit or underscore beside it.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

/// Markdown with its code blocks and code spans blanked, line by line, so that rules about prose do
/// not read code.
pub(super) fn prose(markdown: &str) -> Vec<String> {
    let mut fence = None;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        let start = line.trim_start();
        let marker = ["```", "~~~"]
            .into_iter()
            .find(|marker| start.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, None) => {
                lines.push(without_spans(line));
                continue;
            }
            _ => {}
        }
        lines.push(String::new());
    }
    lines
}

fn without_spans(line: &str) -> String {
    let pieces = line.split('`').enumerate();
    let kept: Vec<&str> = pieces
        .filter(|(at, _)| at % 2 == 0)
        .map(|(_, piece)| piece)
        .collect();
    kept.join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_the_rest() {
        let text = "a\n#[cfg(test)]\nfn b() {}\n#[cfg(test)]\nmod tests {\nc\n}\n";
        assert_eq!(production_lines(text).count(), 3);
        assert_eq!(
            test_lines(text)
                .map(|(number, _)| number)
                .collect::<Vec<_>>(),
            [4, 5, 6, 7]
        );
        assert_eq!(test_lines("a\n").count(), 0);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use serde::Value", "serde"));
        assert!(!has_word("use serde_json::Value", "serde"));
        assert!(has_word("serde_json serde", "serde"));
    }

    #[test]
    fn prose_leaves_code_out() {
        assert_eq!(
            prose("a `b` c\n```sh\nd\n```\ne"),
            ["a ` c", "", "", "", "e"]
        );
    }
}
