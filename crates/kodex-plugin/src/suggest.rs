//! "Did you mean": the closest of a list of known words.

/// The known word that a wrong one probably stands for, if one is close enough.
///
/// Words that differ only in case and in `_`, `-`, `.` or blanks are the same word here; beyond that
/// about one mistake per three letters is forgiven.
///
/// ```
/// assert_eq!(kodex_plugin::suggest::closest("promt.submit", ["prompt.submit", "tool.after"]), Some("prompt.submit"));
/// ```
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a word of this length; comparing it would only cost time.
    if word.len() > 64 {
        return None;
    }
    let plain = |text: &str| {
        text.chars()
            .filter(|c| !matches!(c, '_' | '-' | '.' | ' '))
            .collect::<String>()
            .to_lowercase()
    };
    let word = plain(word);
    let limit = word.chars().count().div_ceil(3).min(3);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit.saturating_sub(usize::from(word.len() < 3)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_close_words_are_suggested() {
        let known = ["name", "description", "input_schema", "tool.before", "on"];
        for (word, want) in [
            ("nmae", Some("name")),
            ("inputSchema", Some("input_schema")),
            ("descripton", Some("description")),
            ("tool_before", Some("tool.before")),
            ("pre_tool", None),
            ("colour", None),
            ("xy", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), want, "{word}");
        }
    }
}
