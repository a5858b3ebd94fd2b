//! The recorded exchanges of `contract/cases/v1` in which the host is tested, replayed against the
//! worker backend by a raw client: it reads and writes lines, and shares no code with the host.
#![expect(
    clippy::disallowed_methods,
    reason = "each case awaits or aborts what it spawned"
)]

mod client;
mod pattern;
mod steps;

use std::{fs, path::Path};

use serde_json::Value;

/// The cases of a file whose subject is the host: the first line of each, and its steps.
fn cases(file: &Path) -> Vec<(Value, Vec<Value>)> {
    let text = fs::read_to_string(file).expect("a case file");
    let mut cases: Vec<(Value, Vec<Value>)> = Vec::new();
    for (n, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{}:{}: {error}", file.display(), n + 1));
        match (line.get("case").is_some(), cases.last_mut()) {
            (true, _) => cases.push((line, Vec::new())),
            (false, Some((_, steps))) => steps.push(line),
            (false, None) => panic!("{}: a step before the first case", file.display()),
        }
    }
    cases.retain(|(case, _)| case["subject"] == "host");
    cases
}

#[test]
fn the_host_behaves_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/cases/v1");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    let (mut n_cases, mut failed) = (0, Vec::new());
    for (case, steps) in files.iter().flat_map(|file| cases(file)) {
        n_cases += 1;
        let name = case["case"].as_str().unwrap_or("?").to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let outcome = runtime
            .expect("a runtime")
            .block_on(steps::replay(&case, &steps));
        if let Err(why) = outcome {
            failed.push(format!("{name}: {why}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {n_cases} cases:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(n_cases >= 30, "only {n_cases} cases were found");
}
