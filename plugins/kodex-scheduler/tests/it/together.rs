//! Heartbeats of two nodes at the same time on one store.

use std::collections::BTreeSet;

use serde_json::json;

use crate::world::{World, every};

const N_TASKS: usize = 40;

#[test]
fn two_nodes_that_beat_at_once_claim_no_occurrence_twice() {
    let nodes = World::nodes(json!({"runs_per_heartbeat": 15}), 2);
    let ids: Vec<_> = (0..N_TASKS)
        .map(|n| nodes[n % 2].add(every(10, "minute"), json!({})))
        .collect();
    let mut n_rounds = 0;
    for _ in 0..2 {
        nodes[0].later(601);
        let mut n_started = 0;
        while n_started < N_TASKS {
            n_rounds += 1;
            assert!(
                n_rounds < 40,
                "{n_started} of {N_TASKS} after {n_rounds} rounds"
            );
            let n: Vec<u64> = std::thread::scope(|scope| {
                let beats: Vec<_> = nodes
                    .iter()
                    .map(|node| scope.spawn(|| node.try_beat().unwrap_or(0)))
                    .collect();
                beats
                    .into_iter()
                    .map(|beat| beat.join().expect("no panic"))
                    .collect()
            });
            n_started += usize::try_from(n.iter().sum::<u64>()).expect("is small");
        }
        nodes[0].end_all("completed", None);
        // Each beat applies some of the ends.
        for _ in 0..8 {
            nodes[0].beat();
        }
    }
    let agents = nodes[0].agents();
    let keys: BTreeSet<_> = agents
        .asked
        .iter()
        .map(|asked| &asked.idempotency_key)
        .collect();
    assert_eq!(
        (keys.len(), agents.asked.len()),
        (2 * N_TASKS, 2 * N_TASKS),
        "no run is asked for twice"
    );
    drop(agents);
    for id in &ids {
        let runs = nodes[0].runs(id);
        assert_eq!(runs.len(), 2, "{runs:?}");
        assert!(
            runs.iter()
                .all(|run| run.attempt == 1 && run.state.is_over()),
            "{runs:?}"
        );
    }
}
