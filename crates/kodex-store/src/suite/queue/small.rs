//! Every history of a small world: two workers, two jobs in one lane or in none, leases that end, workers
//! that die or come back too late, a wish for the end. All of them on the model up to [`N_DEEP`] steps,
//! where what is promised must hold after each; the shorter ones on the store as well.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    board::{Board, LEASE_MS, QUEUE},
    history::{Heard, Move, play, promises},
    model::{Answer, Model},
    step::{How, Step, Which, Wished},
};
use crate::{
    queue::{Job, Priority, Unique},
    suite::{Case, cases, given::Given},
};

pub(crate) const CASES: &[Case] = cases![
    all_histories_of_the_model_keep_the_promises,
    short_histories_of_the_store_are_those_of_the_model,
];

const N_DEEP: usize = 12;
const N_SHORT: usize = 4;

/// A state that the small world can be in, and one way to it.
#[derive(Clone)]
struct World {
    model: Model,
    heard: Heard,
    /// Which of the leases each worker thinks it holds.
    workers: [Option<usize>; 2],
    path: Vec<Move>,
}

/// What may happen next, and what the workers think afterwards.
struct Next {
    step: Step,
    workers: [Option<usize>; 2],
    /// Whose claim it is.
    claims: Option<usize>,
}

impl World {
    fn new(board: &Board, now_ms: u64, with_lane: bool) -> Self {
        let job = |id: &str| Wished {
            id: id.to_owned(),
            queue: QUEUE.to_owned(),
            plugin: board.plugin.clone(),
            lane: with_lane.then(|| "lane".to_owned()),
            unique_key: None,
            unique: Unique::Keep,
            priority: Priority::Normal,
            payload: 1,
            delay_ms: 0,
            due_at_ms: None,
            max_age_ms: None,
            max_attempts: 2,
        };
        let mut world = Self {
            model: Model {
                now_ms,
                ..Model::default()
            },
            heard: Heard::default(),
            workers: [None; 2],
            path: Vec::new(),
        };
        let step = Step::Add(vec![job("a"), job("b")]);
        world.model.answer(&step, &[]);
        world.path.push((step, false));
        world
    }

    /// What makes two states the same: all but the ways to them and the hour.
    fn key(&self) -> String {
        let now_ms = self.model.now_ms;
        let from_now =
            |at_ms: Option<u64>| at_ms.map(|at_ms| at_ms.cast_signed() - now_ms.cast_signed());
        let rows: Vec<_> = self
            .model
            .rows
            .iter()
            .map(|row| {
                let job = &row.job;
                let due = from_now(Some(job.due_at_ms.max(now_ms)));
                let counts = (job.attempt, job.n_crashes, job.token);
                (
                    job.state,
                    counts,
                    job.cancel,
                    &job.holder,
                    due,
                    from_now(job.until_ms),
                )
            })
            .collect();
        let leases = self.workers.map(|at| at.map(|at| &self.heard.leases[at]));
        format!("{rows:?} {leases:?}")
    }

    fn next(&self) -> Vec<Next> {
        let mut all = Vec::new();
        let mut add = |step, workers, claims| {
            all.push(Next {
                step,
                workers,
                claims,
            });
        };
        for (at, holder) in ["one", "two"].into_iter().enumerate() {
            let without = {
                let mut workers = self.workers;
                workers[at] = None;
                workers
            };
            let Some(lease) = self.workers[at] else {
                let claim = Step::Claim {
                    holder,
                    queue: QUEUE,
                    n: 1,
                    lease_ms: LEASE_MS,
                    caps: Vec::new(),
                    plugins: None,
                };
                add(claim, self.workers, Some(at));
                continue;
            };
            let lease = Which(self.heard.leases.len() - 1 - lease);
            add(Step::End(vec![(lease, How::Complete(None))]), without, None);
            add(Step::End(vec![(lease, How::Retry(0))]), without, None);
            let lease_ms = LEASE_MS;
            add(Step::Renew { lease, lease_ms }, self.workers, None);
            // It dies without a word. For the store nothing happens.
            add(Step::Later(0), without, None);
        }
        add(Step::Later(LEASE_MS / 2), self.workers, None);
        add(Step::Recover, self.workers, None);
        add(Step::Cancel("a".to_owned()), self.workers, None);
        all
    }

    /// The state after it, if what is promised holds there.
    fn after(&self, next: Next) -> Result<Self, String> {
        let mut world = self.clone();
        let before = jobs(&world.model);
        let answer = world.model.answer(&next.step, &world.heard.leases);
        let after = jobs(&world.model);
        promises(&next.step, &answer, &before, &after, &mut world.heard)?;
        world.workers = next.workers;
        if let (Some(at), Answer::Claimed(claimed)) = (next.claims, answer)
            && let Some((lease, _)) = claimed.into_iter().next()
        {
            world.workers[at] = Some(world.heard.leases.len());
            world.heard.leases.push(lease);
        }
        world.path.push((next.step, false));
        Ok(world)
    }
}

fn jobs(model: &Model) -> BTreeMap<String, Job> {
    let pair = |job: &Job| (job.id.clone(), job.clone());
    model.rows.iter().map(|row| pair(&row.job)).collect()
}

/// Every state within so many steps, and every way out of one.
fn explore(start: World, n_steps: usize, mut seen: impl FnMut(&World)) -> usize {
    let mut known = BTreeSet::from([start.key()]);
    let mut layer = vec![start];
    for _ in 0..n_steps {
        let mut further = Vec::new();
        for world in layer {
            for next in world.next() {
                let said = format!("{:?}", next.step);
                let after = world.after(next);
                let after = after.unwrap_or_else(|problem| {
                    panic!("{problem}, after {:#?} and {said}", world.path)
                });
                seen(&after);
                if known.insert(after.key()) {
                    further.push(after);
                }
            }
        }
        layer = further;
    }
    known.len()
}

async fn all_histories_of_the_model_keep_the_promises(given: Given) {
    let board = Board::new(given);
    for with_lane in [false, true] {
        let start = World::new(&board, board.now_ms(), with_lane);
        let mut n_ways = 0;
        let n_states = explore(start, N_DEEP, |_| n_ways += 1);
        assert!(n_states > 1_000 && n_ways > n_states, "{n_states} {n_ways}");
    }
}

async fn short_histories_of_the_store_are_those_of_the_model(given: Given) {
    let board = Board::new(given);
    board.create_all(&["first"]).await;
    for with_lane in [false, true] {
        let mut paths = Vec::new();
        let start = World::new(&board, board.now_ms(), with_lane);
        explore(start, N_SHORT, |world| paths.push(world.path.clone()));
        // A way that goes on says all that its beginning would.
        let longest = paths.iter().filter(|path| path.len() == N_SHORT + 1);
        for path in longest {
            if let Err(problem) = play(&board, path).await {
                panic!("{problem}\n{path:#?}");
            }
        }
    }
}
