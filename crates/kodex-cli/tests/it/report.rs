//! `kodex report` on plugins in Python, one of which tries to write while it reports.

use serde_json::{Value, json};

use crate::world::World;

const JOBS: &str = r#"
import kodex

plugin = kodex.Plugin("jobs", "0.1.0", "Does jobs.")


@plugin.hook("report")
def report(request):
    rows = [{"id": "1", "values": {"what": "a\x1b[31m", "who": "b", "secret": "s"}}]
    return {
        "title": "Jobs of today",
        "metrics": [{"label": "open", "value": "3", "tone": "warning"}],
        "record_sets": [
            {"title": "Open", "fields": [{"key": "what", "label": "WHAT"}, {"key": "who", "label": "WHO"}], "records": rows},
            {"title": "Late", "fields": [{"key": "what", "label": "WHAT"}], "empty_text": "nothing is late"},
        ],
    }
"#;

const WRITES: &str = r#"
import kodex
from kodex import state

plugin = kodex.Plugin("writes", "0.1.0", "Writes where it should not.")


@plugin.hook("report")
def report(request):
    state.get("n", 0)
    state.set("n", 1)
    return {}


@plugin.tool("write", description="Writes.")
def write(input):
    return {"version": state.set("n", 1)}
"#;

const QUIET: &str = r#"
import kodex

plugin = kodex.Plugin("quiet", "0.1.0", "Has nothing to report.")


@plugin.hook("report")
def report(request):
    return None
"#;

fn world() -> World {
    World::with(&[
        ("plugins/jobs.py", JOBS),
        ("plugins/quiet.py", QUIET),
        ("plugins/writes.py", WRITES),
    ])
}

/// Runs, and gives the status with what was printed on either stream.
fn check(world: &World, words: &[&str]) -> (i32, String) {
    let done = world.args(words);
    (done.code(), format!("{}{}", done.stdout, done.stderr))
}

#[test]
fn reports_are_shown_by_name_and_a_write_makes_a_failed_one() {
    let world = world();
    let (code, text) = check(&world, &["report", "jobs"]);
    let want = "jobs Jobs of today\n  open: 3\n  Open\n    WHAT         WHO\n    a\\u{1b}[31m  b\n  Late\n    nothing is late\n";
    assert_eq!((code, text.as_str()), (0, want));
    let (code, text) = check(&world, &["report", "--json"]);
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let shown: Vec<_> = all
        .as_array()
        .expect("reports")
        .iter()
        .map(|report| json!([report["plugin"], report["failed"]]))
        .collect();
    assert_eq!(
        (code, json!(shown)),
        (1, json!([["jobs", false], ["writes", true]])),
        "{text}"
    );
    let error = &all[1]["record_sets"][0]["records"][0]["values"];
    let text = error["message"].as_str().expect("a text");
    assert!(
        text.contains("state/set") && text.contains("a report only looks"),
        "{error}"
    );
    // In its other calls it may write.
    let (code, text) = check(&world, &["call", "writes/write"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = check(&world, &["report"]);
    assert!(
        code == 1 && text.contains("writes\n  report: failed\n  Error\n"),
        "{text}"
    );
}

#[test]
fn a_plugin_without_a_report_and_one_that_is_not_there() {
    let world = world();
    let (code, text) = check(&world, &["report", "quiet"]);
    assert_eq!((code, text.as_str()), (0, "quiet has nothing to report\n"));
    assert_eq!(
        check(&world, &["report", "quiet", "--json"]),
        (0, "[]\n".to_owned())
    );
    let (code, text) = check(&world, &["report", "job"]);
    assert!(
        code == 1 && text.contains("[report.plugin.unknown]") && text.contains("'jobs'"),
        "{text}"
    );
}
