//! What documents say to the contract: manifests in them are read as `kodex` would, and no page is
//! forgotten.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kodex_plugin::{Severity, manifest::parse_toml};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The documents of the repository, by their path in it.
fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for start in ["docs", "examples", "sdks", "contract", "crates"] {
        collect(&root(), Path::new(start), &mut found);
    }
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        read(&root(), Path::new(name), &mut found);
    }
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder of the repository") {
        let entry = entry.expect("an entry");
        let (path, name) = (folder.join(entry.file_name()), entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            if name != "target" && name != "node_modules" {
                collect(root, &path, found);
            }
        } else {
            read(root, &path, found);
        }
    }
}

fn read(root: &Path, path: &Path, found: &mut Vec<(String, String)>) {
    if path.extension().is_some_and(|ending| ending == "md") {
        let text = fs::read_to_string(root.join(path)).expect("a document");
        found.push((path.display().to_string(), text));
    }
}

/// The blocks whose first line begins with these words, with their line.
fn blocks<'a>(markdown: &'a str, words: &'a str) -> impl Iterator<Item = (usize, String)> + 'a {
    let is_wanted = move |line: &str| {
        let rest = line
            .strip_prefix("```")
            .and_then(|line| line.strip_prefix(words));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',']))
    };
    let starts = markdown
        .lines()
        .enumerate()
        .filter(move |(_, line)| is_wanted(line));
    starts.map(move |(at, _)| {
        let inside = markdown
            .lines()
            .skip(at + 1)
            .take_while(|line| !line.starts_with("```"));
        (at + 1, inside.map(|line| format!("{line}\n")).collect())
    })
}

#[test]
fn manifests_in_documents_have_no_mistakes() {
    let mut n_manifests = 0;
    for (path, text) in documents() {
        for (line, manifest) in blocks(&text, "toml kodex") {
            n_manifests += 1;
            let parsed = parse_toml(&manifest, &path);
            let mistakes: Vec<_> = parsed
                .diagnostics
                .iter()
                .filter(|one| one.severity > Severity::Note)
                .collect();
            assert!(
                parsed.manifest.is_some() && mistakes.is_empty(),
                "{path}:{line}: {mistakes:?}"
            );
        }
    }
    assert!(
        n_manifests >= 3,
        "{n_manifests} manifests: are the blocks still marked?"
    );
}

#[test]
fn every_page_with_rust_is_a_documentation_test() {
    let listed = include_str!("../src/lib.rs");
    for (path, text) in documents() {
        let is_page = path == "README.md" || path.starts_with("docs/");
        if is_page && blocks(&text, "rust").next().is_some() {
            assert!(
                listed.contains(&format!("\"{path}\"")),
                "{path} has no row in xtask/docs/src/lib.rs"
            );
        }
    }
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let documents = documents();
    let (_, summary) = documents
        .iter()
        .find(|(path, _)| path == "docs/SUMMARY.md")
        .expect("the summary");
    for (path, _) in &documents {
        if let Some(page) = path
            .strip_prefix("docs/")
            .filter(|page| *page != "SUMMARY.md")
        {
            assert!(
                summary.contains(&format!("({page})")),
                "docs/SUMMARY.md does not list {page}"
            );
        }
    }
}

/// The rows of the table of bounds, with the defaults that the code has.
#[test]
fn bounds_in_the_configuration_are_the_defaults() {
    let guard = kodex::GuardSettings::default();
    let (breaker, limits) = (&guard.breaker, &guard.limits);
    let span = |span: std::time::Duration| match span.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    };
    let rows = [
        ("guard.concurrency", guard.concurrency.to_string()),
        ("guard.event_budget", span(guard.event_budget)),
        ("guard.activation_timeout", span(guard.activation_timeout)),
        ("guard.breaker.window", breaker.window.to_string()),
        ("guard.breaker.min_calls", breaker.min_calls.to_string()),
        ("guard.breaker.open_for", span(breaker.open_for)),
        ("guard.breaker.open_cap", span(breaker.open_cap)),
        ("limits.frame_bytes", limits.frame_bytes.to_string()),
        ("limits.depth", limits.depth.to_string()),
        ("limits.stderr_bytes", limits.stderr_bytes.to_string()),
        (
            "limits.messages_per_second",
            limits.messages_per_second.to_string(),
        ),
        ("limits.messages_burst", limits.messages_burst.to_string()),
        ("limits.concurrency", limits.concurrency.to_string()),
        ("limits.queue", limits.queue.to_string()),
        ("limits.frame_timeout", span(limits.frame_timeout)),
    ];
    let page = include_str!("../../../docs/concepts/configuration.md");
    for (key, default) in rows {
        let row = format!("| `{key}` | `{default}` |");
        assert!(
            page.contains(&row),
            "docs/concepts/configuration.md has no row that begins `{row}`"
        );
    }
}

/// Sentences about the guard that hold a number, with the number that the code has.
#[test]
fn numbers_of_the_guard_are_those_of_the_code() {
    let guard = kodex::GuardSettings::default();
    let (breaker, limits) = (&guard.breaker, &guard.limits);
    let percent = |share: f64| (share * 100.0).round();
    let sentences = [
        format!(
            "At most {} calls run in one plugin at once, and at most {} wait",
            limits.concurrency, limits.queue
        ),
        format!(
            "it has {} s of its own for that",
            guard.activation_timeout.as_secs()
        ),
        format!("together have {} s", guard.event_budget.as_secs()),
        format!("At most {} dispatches are under way", guard.concurrency),
        format!(
            "the last {} outcomes that are no older than {} minutes",
            breaker.window,
            breaker.window_age.as_secs() / 60
        ),
        format!("- {} timeouts in a row", breaker.timeouts_in_a_row),
        format!("- {} crashes in a row", breaker.crashes_in_a_row),
        format!(
            "at least {} outcomes, half of them or more failed",
            breaker.min_calls
        ),
        format!(
            "{} % of them or more slow: a success that took more than {} % of its time",
            percent(breaker.slow_ratio),
            percent(breaker.slow_after)
        ),
        format!(
            "open for {} s, and twice as long",
            breaker.open_for.as_secs()
        ),
        format!(
            "up to {} minutes; each time varied by up to {} %",
            breaker.open_cap.as_secs() / 60,
            percent(breaker.jitter)
        ),
        format!(
            "After {} minutes closed",
            breaker.clean_after.as_secs() / 60
        ),
        format!("{} successes in a row close it", breaker.probes_to_close),
        format!(
            "A reply has at most {} MiB and nests at most {} deep",
            limits.frame_bytes >> 20,
            limits.depth
        ),
        format!(
            "the last {} KiB of standard error",
            limits.stderr_bytes >> 10
        ),
    ];
    let page = include_str!("../../../docs/concepts/guard.md");
    assert!(
        (breaker.failure_ratio - 0.5).abs() < f64::EPSILON,
        "the page says half"
    );
    for sentence in sentences {
        assert!(
            page.contains(&sentence),
            "docs/concepts/guard.md does not say: {sentence}"
        );
    }
}
