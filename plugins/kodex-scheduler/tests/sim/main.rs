//! Three nodes with the real scheduler on one real store, and a queue of agent runs that they work off, in
//! histories that a seed decides: calls that are cut off between any two requests, nodes that die, stop
//! past their leases and go on, requests that fail before or after they took effect, clocks that jump and
//! differ, people who change tasks, rows that do not read.
//!
//! One thread drives everything, one request at a time, so a seed is a history:
//!
//! ```text
//! KODEX_SIM_SEED=17 cargo xtask postgres -- cargo test -p kodex-scheduler --test sim
//! KODEX_SIM_SEEDS=20000 cargo xtask postgres -- cargo test -p kodex-scheduler --test sim
//! ```
//!
//! What must hold, in the order of the promises in `docs/design`: P1 what was accepted is there. P2 an
//! occurrence has one run, and that one agent run. P3 a job has one lease at a time, and tokens rise. P4 nothing counts that is
//! said without the current token. P5 what a lost node had is taken back. P6 an effect happens once. P7 no
//! occurrence is lost: each has a run, or is told of with the reason why it has none, and not both. P8 a row that does not read stops nothing else. The jobs are compared with a naive
//! reference after everything that takes effect.

mod chance;
mod gate;
mod host;
mod node;
mod reference;
mod sim;
mod stand;
mod tasks;

use sim::{Seen, Sim};
use stand::{Engine, Stand};

/// A fault that is there on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The store does not look at the token of an end.
    TokenIgnored,
    /// The same key makes another agent run each time.
    TwoJobsOfAnOccurrence,
    /// The row of an occurrence is not there.
    SlotLost,
    /// What passed without a run is not written down.
    PassedUntold,
}

/// Seeds of a usual run, by engine.
const N_SQLITE: u64 = 150;
const N_POSTGRES: u64 = 25;

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says how long"
)]
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

/// Plays a seed; the history and what was wrong with it.
async fn play(
    stand: &Stand,
    seed: u64,
    plant: Option<Plant>,
) -> (Seen, Vec<String>, Option<String>) {
    stand.wipe().await;
    let mut sim = Sim::new(stand, seed, plant);
    let problem = sim.play().await.err();
    (sim.seen, std::mem::take(&mut sim.history), problem)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// For whoever runs the test by hand.
#[expect(clippy::print_stderr, reason = "a test speaks to whoever runs it")]
fn say(text: &str) {
    eprintln!("{text}");
}

async fn seeds(engine: Engine, usual: u64) {
    let range = match (asked("KODEX_SIM_SEED"), asked("KODEX_SIM_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(n)) => 0..n,
        (None, None) => 0..usual,
    };
    let n_seeds = range.end - range.start;
    let stand = Stand::new(engine).await;
    let mut all = Seen::default();
    for seed in range {
        let (seen, history, problem) = play(&stand, seed, None).await;
        if let Some(problem) = problem {
            panic!(
                "{problem}\n\n{}\n\nagain: KODEX_SIM_SEED={seed} cargo xtask postgres -- cargo test -p kodex-scheduler --test sim",
                history.join("\n")
            );
        }
        if n_seeds == 1 {
            say(&history.join("\n"));
        }
        all.add(&seen);
    }
    say(&format!("{engine:?}, {n_seeds} seeds: {all:?}"));
    // A history in which nothing happens finds nothing.
    if n_seeds >= 50 {
        let parts = [
            all.n_faults,
            all.n_crashes,
            all.n_zombies_refused,
            all.n_taken_back,
            all.n_accounted,
            all.n_passed,
        ];
        assert!(parts.iter().all(|n| *n > 0), "{all:?}");
    }
    stand.close().await;
}

#[test]
fn histories_on_sqlite_keep_the_promises() {
    block_on(seeds(Engine::Sqlite, N_SQLITE));
}

#[test]
fn histories_on_postgres_keep_the_promises() {
    block_on(seeds(Engine::Postgres, N_POSTGRES));
}

#[test]
fn one_seed_is_one_history() {
    block_on(async {
        let stand = Stand::new(Engine::Sqlite).await;
        for seed in [3, 4] {
            let (_, first, _) = play(&stand, seed, None).await;
            let (_, again, _) = play(&stand, seed, None).await;
            assert_eq!(first, again, "seed {seed}");
        }
        stand.close().await;
    });
}

#[test]
fn planted_faults_are_found() {
    block_on(async {
        let stand = Stand::new(Engine::Sqlite).await;
        // Each begins shortly before a seed that is known to find it.
        for (plant, from, word) in [
            (Plant::TokenIgnored, 128, "P4"),
            (Plant::TwoJobsOfAnOccurrence, 6, "P2"),
            (Plant::SlotLost, 0, "P7"),
            (Plant::PassedUntold, 0, "P7"),
        ] {
            let mut found = None;
            for seed in from..from + 200 {
                found = play(&stand, seed, Some(plant)).await.2;
                if found.is_some() {
                    break;
                }
            }
            let found = found.unwrap_or_else(|| panic!("{plant:?} was not found"));
            assert!(found.starts_with(word), "{plant:?}: {found}");
        }
        stand.close().await;
    });
}
