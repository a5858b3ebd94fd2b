//! A node that dies between two requests of its heartbeat, and the next one that finds what it left.

use std::time::Duration;

use kodex_plugin::Clock as _;
use kodex_scheduler::run::RunState;
use kodex_testkit::block_on;
use serde_json::json;

use crate::world::{World, every};

/// How long a request may be under way in which the node dies.
const DYING: Duration = Duration::from_millis(300);

/// A heartbeat that dies in a request, and clean ones of another node until the occurrence has had its run.
fn check(method: &str, word: &str, is_done: bool, n_rows: usize) {
    let nodes = World::nodes(json!({}), 2);
    let [one, two] = &nodes[..] else {
        unreachable!("there are two")
    };
    let id = one.add(every(10, "minute"), json!({}));
    one.later(601);
    one.faults.die(method, word, is_done);
    assert!(
        block_on(one.beating(), DYING).is_none(),
        "it dies in {method} {word}"
    );
    assert!(one.faults.stop(), "it came to {method} {word}");
    let left = two.runs(&id);
    assert_eq!(left.len(), n_rows, "{left:?}");
    for _ in 0..4 {
        two.later(61).beat();
        two.end_all("completed", None);
    }
    let runs = two.runs(&id);
    let first = &runs[0];
    assert_eq!(
        (runs.len(), first.state),
        (1, RunState::Completed),
        "{runs:?}"
    );
    let mut keys: Vec<_> = two
        .agents()
        .asked
        .iter()
        .map(|asked| asked.idempotency_key.clone())
        .collect();
    keys.dedup();
    assert_eq!(
        keys,
        std::slice::from_ref(&first.id),
        "one agent run, however often it was asked for"
    );
    assert!(
        i64::try_from(two.clock.unix_ms())
            .is_ok_and(|now| two.task(&id).next_run_at_ms > Some(now))
    );
}

/// CP03: the occurrence was reckoned, and no row of it is there.
#[test]
fn cp03_an_occurrence_that_was_not_stored_is_found_by_the_next() {
    check("db/query", "INSERT INTO runs", false, 0);
    check("db/query", "INSERT INTO runs", true, 0);
    check("db/commit", "", false, 0);
}

/// CP04: the occurrence is there, and the agent run is not, or nobody heard that it is.
#[test]
fn cp04_an_occurrence_without_its_agent_run_is_taken_over() {
    check("db/commit", "", true, 1);
    check("agent/dispatch", "", false, 1);
    check("agent/dispatch", "", true, 1);
}
