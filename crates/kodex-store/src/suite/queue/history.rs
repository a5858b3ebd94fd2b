//! Long histories by chance: after every step the store says what the model says, and what is promised
//! holds. A history that fails is made as short as it can be before it is shown.

use std::collections::BTreeMap;

use super::{
    board::{Board, QUEUE},
    model::{Answer, Model, is_living, seen},
    step::{Chance, Step, WIPE},
};
use crate::{
    queue::{Filter, Job, JobLease, JobState, N_TOGETHER},
    suite::{
        Case, cases,
        given::{Given, soon},
    },
};

pub(crate) const CASES: &[Case] = cases![histories_by_chance_are_those_of_the_model];

const N_HISTORIES: u64 = 60;
const N_STEPS: usize = 60;
/// Seeds of histories that failed once.
const SEEDS: &[u64] = &[];

/// A step, and whether nobody heard of its answer.
pub(super) type Move = (Step, bool);

async fn histories_by_chance_are_those_of_the_model(given: Given) {
    let board = Board::new(given);
    // From here on there is a store.
    board.create_all(&["first"]).await;
    for seed in SEEDS.iter().copied().chain(0..N_HISTORIES) {
        let history = history(&board, seed);
        if let Err(problem) = play(&board, &history).await {
            let (history, problem) = shorten(&board, history, problem).await;
            panic!("seed {seed}: {problem}\n{history:#?}");
        }
    }
}

fn history(board: &Board, seed: u64) -> Vec<Move> {
    let mut chance = Chance(seed.wrapping_mul(7_919));
    let plugins = [board.plugin.clone(), board.other.clone()];
    let now_ms = board.now_ms();
    (0..N_STEPS)
        .map(|_| (chance.step(&plugins, now_ms), chance.is_lost()))
        .collect()
}

/// Leaves out what the problem does not need.
async fn shorten(
    board: &Board,
    mut history: Vec<Move>,
    mut problem: String,
) -> (Vec<Move>, String) {
    let mut size = history.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= history.len() {
            let mut shorter = history.clone();
            shorter.drain(at..at + size);
            match play(board, &shorter).await {
                Err(again) => (history, problem) = (shorter, again),
                Ok(()) => at += size,
            }
        }
        size /= 2;
    }
    (history, problem)
}

/// What the leases were that somebody heard of, and the last token of each job.
#[derive(Default, Clone)]
pub(super) struct Heard {
    pub(super) leases: Vec<JobLease>,
    last: BTreeMap<String, u64>,
}

/// Plays a history on an empty store and on the model.
pub(super) async fn play(board: &Board, history: &[Move]) -> Result<(), String> {
    board.sql(WIPE).await;
    let mut model = Model {
        now_ms: board.now_ms(),
        ..Model::default()
    };
    let mut heard = Heard::default();
    let mut before = stored(board).await;
    for (at, (step, is_lost)) in history.iter().enumerate() {
        let want = model.answer(step, &heard.leases);
        let found = step.ask(board, &heard.leases).await;
        let told = |problem: String| format!("step {at}, {step:?}: {problem}");
        if plain(&found) != plain(&want) {
            return Err(told(format!("answered\n{found:?}, not\n{want:?}")));
        }
        let after = stored(board).await;
        compare(board, &model, &after).await.map_err(told)?;
        promises(step, &found, &before, &after, &mut heard).map_err(told)?;
        before = after;
        if let (Answer::Claimed(claimed), false) = (found, *is_lost) {
            heard
                .leases
                .extend(claimed.into_iter().map(|(lease, _)| lease));
        }
    }
    Ok(())
}

/// An answer without the engine's own words.
fn plain(answer: &Answer) -> String {
    match answer {
        Answer::Claimed(claimed) => {
            let leases: Vec<_> = claimed.iter().map(|(lease, _)| lease).collect();
            format!("{leases:?}")
        }
        answer => format!("{answer:?}"),
    }
}

/// All jobs, by id.
async fn stored(board: &Board) -> BTreeMap<String, Job> {
    let all = Filter {
        queue: None,
        plugin: None,
        states: &[],
        after: None,
        limit: N_TOGETHER,
    };
    let jobs = soon(board.queue().list(&all)).await;
    let jobs = jobs.expect("the jobs are listed");
    jobs.into_iter().map(|job| (job.id.clone(), job)).collect()
}

async fn compare(
    board: &Board,
    model: &Model,
    stored: &BTreeMap<String, Job>,
) -> Result<(), String> {
    if stored.len() != model.rows.len() {
        return Err(format!("{} jobs, not {}", stored.len(), model.rows.len()));
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in &model.rows {
        let want = seen(&row.job);
        let found = stored.get(&row.job.id).map(seen);
        if found.as_ref() != Some(&want) {
            return Err(format!("the job is\n{found:?}, not\n{want}"));
        }
        let lines = board.queue().logs(&row.job.id, 0, 1_000).await;
        if lines.as_ref() != Ok(&row.lines) {
            return Err(format!("its lines are {lines:?}, not {:?}", row.lines));
        }
        let job = &row.job;
        *counts
            .entry(format!("{} {} {:?}", job.queue, job.plugin, job.state))
            .or_default() += 1;
    }
    let found = board
        .queue()
        .counts()
        .await
        .map_err(|error| error.to_string())?;
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|count| {
            (
                format!("{} {} {:?}", count.queue, count.plugin, count.state),
                count.n,
            )
        })
        .collect();
    if found != counts {
        return Err(format!("the counts are {found:?}, not {counts:?}"));
    }
    for queue in [QUEUE, "elsewhere"] {
        let (found, want) = (board.queue().next_at(queue).await, model.next_at(queue));
        if found != Ok(want) {
            return Err(format!("next of {queue} is {found:?}, not {want:?}"));
        }
    }
    Ok(())
}

/// What is promised, seen from outside and without the model.
pub(super) fn promises(
    step: &Step,
    answer: &Answer,
    before: &BTreeMap<String, Job>,
    after: &BTreeMap<String, Job>,
    heard: &mut Heard,
) -> Result<(), String> {
    // P1: what was accepted stays.
    if let Some(lost) = before.keys().find(|id| !after.contains_key(*id))
        && !matches!(step, Step::Prune { .. })
    {
        return Err(format!("P1: {lost} is lost"));
    }
    heard.last.retain(|id, _| after.contains_key(id));
    // P2: one living job of a key, one running job of a lane.
    let mut keys = BTreeMap::new();
    let mut lanes = BTreeMap::new();
    for job in after.values() {
        if let Some(key) = &job.unique_key
            && is_living(job)
            && let Some(other) = keys.insert((&job.queue, &job.plugin, key), &job.id)
        {
            return Err(format!("P2: {} and {other} have one key", job.id));
        }
        if let Some(lane) = &job.lane
            && job.state == JobState::Running
            && let Some(other) = lanes.insert(lane, &job.id)
        {
            return Err(format!("{} and {other} run in one lane", job.id));
        }
    }
    // P3: tokens rise with each lease, and nobody takes what runs.
    if let Answer::Claimed(claimed) = answer {
        for (lease, _) in claimed {
            let last = heard.last.insert(lease.id.clone(), lease.token);
            if last.is_some_and(|last| last >= lease.token) {
                return Err(format!("P3: {lease:?} comes after {last:?}"));
            }
            if before[&lease.id].state != JobState::Pending {
                return Err(format!("P3: {} was not pending", lease.id));
            }
        }
    }
    // P4: only the current token changes anything.
    if let (Step::End(ends), Answer::Ended(ended)) = (step, answer) {
        for ((which, _), took_effect) in ends.iter().zip(ended) {
            let Some(lease) = which.of(&heard.leases) else {
                continue;
            };
            let current = heard.last.get(&lease.id) == Some(&lease.token);
            let ran = before
                .get(&lease.id)
                .is_some_and(|job| job.state == JobState::Running);
            if *took_effect && !(current && ran) {
                return Err(format!("P4: {lease:?} was ended by who lost it"));
            }
        }
    }
    Ok(())
}
