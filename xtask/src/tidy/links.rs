//! Links between documents lead somewhere: to a file or folder that is there, and to a heading in it.

use super::text::prose;
use super::{Finding, Repository};

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in repository.with_ending(&["md"]) {
        for (at, line) in prose(file.text()).iter().enumerate() {
            for target in targets(line) {
                if let Err(why) = follow(repository, &file.path, target) {
                    findings.push(Finding::new(
                        file,
                        at + 1,
                        format!("link to `{target}`: {why}"),
                    ));
                }
            }
        }
    }
    findings
}

/// The targets of `[text](target)` and `[name]: target` in a line.
fn targets(line: &str) -> Vec<&str> {
    let mut found: Vec<&str> = line
        .match_indices("](")
        .filter_map(|(at, open)| line[at + open.len()..].split([')', ' ']).next())
        .collect();
    if line.starts_with('[') {
        found.extend(
            line.split_once("]: ")
                .and_then(|(_, rest)| rest.split(' ').next()),
        );
    }
    found
}

fn follow(repository: &Repository, from: &str, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let path = if path.is_empty() {
        from.to_owned()
    } else {
        resolve(from, path)?
    };
    let folder = format!("{path}/");
    let Some(file) = repository.file(&path) else {
        let is_folder = path.is_empty()
            || repository
                .files
                .iter()
                .any(|file| file.path.starts_with(&folder));
        return if is_folder {
            Ok(())
        } else {
            Err(format!("there is no {path}"))
        };
    };
    match anchor {
        Some(anchor)
            if file.has_ending(&["md"]) && !anchors(file.text()).iter().any(|a| a == anchor) =>
        {
            Err(format!("{path} has no heading `#{anchor}`"))
        }
        _ => Ok(()),
    }
}

/// A target relative to the file that names it, as a path in the repository.
fn resolve(from: &str, target: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return Err("leads out of the repository".to_owned()),
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The anchors of a document's headings, as they are made on the web; the second of the same name
/// gets `-1`.
fn anchors(markdown: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut is_code = false;
    for line in markdown.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if is_code || level == 0 || !line[level..].starts_with(' ') {
            continue;
        }
        let slug = slug(line[level..].trim());
        let n_before = anchors
            .iter()
            .filter(|anchor| is_same_heading(anchor, &slug))
            .count();
        anchors.push(if n_before == 0 {
            slug
        } else {
            format!("{slug}-{n_before}")
        });
    }
    anchors
}

fn is_same_heading(anchor: &str, slug: &str) -> bool {
    let rest = anchor.strip_prefix(slug);
    rest.is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|n| n.parse::<u32>().is_ok())
    })
}

fn slug(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let files = [
            ("docs/a.md", text),
            (
                "docs/b.md",
                "# Two words\n## `kodex list`, again\n# Two words\n```sh\n# no heading\n```\n",
            ),
            ("crates/c/src/lib.rs", ""),
        ];
        super::super::check(super::check, &files, expected);
    }

    #[test]
    fn links_lead_somewhere() {
        check(
            "[b](b.md) [b](b.md#two-words) [b](b.md#two-words-1) [c](../crates/c) [w](https://x.y/z)",
            &[],
        );
        check("[b](b.md#kodex-list-again)\n[self](#top)\n# Top", &[]);
        check(
            "[b](c.md)",
            &["docs/a.md:1: link to `c.md`: there is no docs/c.md"],
        );
        check(
            "[b]: ../c.md",
            &["docs/a.md:1: link to `../c.md`: there is no c.md"],
        );
        check(
            "[b](b.md#no-heading)",
            &["docs/a.md:1: link to `b.md#no-heading`: docs/b.md has no heading `#no-heading`"],
        );
        check(
            "[b](../../x)",
            &["docs/a.md:1: link to `../../x`: leads out of the repository"],
        );
        check("`[b](c.md)`\n```\n[b](c.md)\n```", &[]);
    }

    #[test]
    fn anchors_are_made_as_on_the_web() {
        assert_eq!(slug("5.1 What's `new`?"), "51-whats-new");
    }
}
