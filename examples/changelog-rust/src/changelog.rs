//! From commit messages to a section of a changelog. Pure: texts in, a text out.

/// The headings, with the types of commits under each, in the order of the changelog. A commit that
/// breaks something stands under the first, whatever its type.
const SECTIONS: [(&str, &[&str]); 5] = [
    ("Breaking", &[]),
    ("Added", &["feat"]),
    ("Fixed", &["fix"]),
    ("Faster", &["perf"]),
    ("Changed", &["refactor", "revert", "deps", "build"]),
];

/// One message in the conventional form: `type(scope)!: subject`.
#[derive(Debug, PartialEq)]
struct Commit<'a> {
    kind: &'a str,
    scope: Option<&'a str>,
    breaking: bool,
    subject: &'a str,
}

impl<'a> Commit<'a> {
    fn read(message: &'a str) -> Option<Self> {
        let (first, body) = message.split_once('\n').unwrap_or((message, ""));
        let (head, subject) = first.split_once(':')?;
        let (head, marked) = match head.strip_suffix('!') {
            Some(head) => (head, true),
            None => (head, false),
        };
        let (kind, scope) = match head.split_once('(') {
            Some((kind, scope)) => (kind, Some(scope.strip_suffix(')')?)),
            None => (head, None),
        };
        let is_word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
        let subject = subject.trim();
        (is_word(kind) && !subject.is_empty()).then_some(Self {
            kind,
            scope: scope.filter(|scope| !scope.is_empty()),
            breaking: marked
                || body
                    .lines()
                    .any(|line| line.starts_with("BREAKING CHANGE:")),
            subject,
        })
    }

    /// Under which heading it stands; nothing for chores, which no reader of a changelog misses.
    fn section(&self) -> Option<usize> {
        if self.breaking {
            return Some(0);
        }
        let kind = self.kind.to_ascii_lowercase();
        SECTIONS
            .iter()
            .position(|(_, kinds)| kinds.contains(&kind.as_str()))
    }

    fn entry(&self) -> String {
        let mut letters = self.subject.chars();
        let first: String = letters
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .collect();
        let subject = format!("{first}{}", letters.as_str());
        match self.scope {
            Some(scope) => format!("- {scope}: {subject}\n"),
            None => format!("- {subject}\n"),
        }
    }
}

/// A section for a version, in Markdown, and how many entries it has.
///
/// ```
/// let (text, n_entries) = changelog_rust::draft("1.2.0", ["feat: read stdin", "chore: tidy"]);
/// assert_eq!(text, "## 1.2.0\n\n### Added\n\n- Read stdin\n");
/// assert_eq!(n_entries, 1);
/// ```
pub fn draft<'a>(version: &str, messages: impl IntoIterator<Item = &'a str>) -> (String, usize) {
    let mut entries = [const { String::new() }; SECTIONS.len()];
    let mut n_entries = 0;
    for commit in messages.into_iter().filter_map(Commit::read) {
        if let Some(section) = commit.section() {
            entries[section].push_str(&commit.entry());
            n_entries += 1;
        }
    }
    let mut text = format!("## {version}\n");
    for ((heading, _), entries) in SECTIONS.iter().zip(entries) {
        if !entries.is_empty() {
            text.push_str(&format!("\n### {heading}\n\n{entries}"));
        }
    }
    (text, n_entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(messages: &[&str], want: &str) {
        let (text, n_entries) = draft("1.0.0", messages.iter().copied());
        let got = text.replace("\n\n", "\n").replace('\n', "|");
        assert_eq!(got, format!("## 1.0.0|{want}"), "{messages:?}");
        assert_eq!(n_entries, want.matches("|- ").count());
    }

    #[test]
    fn messages_become_entries() {
        check(&[], "");
        check(&["feat: a"], "### Added|- A|");
        check(
            &["fix(api): b", "feat: a"],
            "### Added|- A|### Fixed|- api: B|",
        );
        check(&["FEAT: loud"], "### Added|- Loud|");
        check(
            &["feat!: new", "fix: x\n\nBREAKING CHANGE: y"],
            "### Breaking|- New|- X|",
        );
        check(&["refactor(): same"], "### Changed|- Same|");
        check(&["feat: \u{e4}rger"], "### Added|- \u{c4}rger|");
    }

    #[test]
    fn other_texts_are_left_out() {
        for message in [
            "",
            ":",
            "feat:",
            "feat:  ",
            "no form",
            "chore: tidy",
            "feat(open: x",
            "a b: c",
            "https://example.com",
            "\nfeat: second line",
        ] {
            check(&[message], "");
        }
    }
}
