//! Many callers of the jobs at once.

use std::collections::{BTreeMap, BTreeSet};

use super::board::{Board, DONE, LEASE_MS, QUEUE, WHY, retry};
use crate::{
    queue::{
        Added, Cancelled, Claim, Effect, End, Ending, JobLease, JobState, NewJob, Renewed, Unique,
    },
    suite::{
        Case, cases,
        given::{Given, raw, soon, spawn},
    },
};

pub(crate) const CASES: &[Case] = cases![
    each_job_is_claimed_once,
    one_of_many_adds_a_unique_job,
    one_of_many_adds_an_id,
    lanes_hold_among_many,
    caps_hold_among_many,
    an_end_takes_effect_once,
    an_effect_happens_once_among_many,
    a_lost_job_is_taken_back_once,
    an_end_and_a_wish_for_it_agree,
    many_that_do_everything_lose_nothing,
];

const N_CALLERS: usize = 16;

/// Runs `caller` as often as there are callers, and gives what each of them gave.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    board: &Board,
    caller: impl Fn(Board, usize) -> F,
) -> Vec<T> {
    let callers: Vec<_> = (0..N_CALLERS)
        .map(|at| spawn(caller(board.clone(), at)))
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.push(soon(caller).await.expect("the caller ends"));
    }
    all
}

async fn fill(board: &Board, n: usize) -> BTreeSet<String> {
    let ids: BTreeSet<_> = (0..n).map(|at| format!("{at:05}")).collect();
    let jobs: Vec<_> = ids.iter().map(|id| board.job(id)).collect();
    for jobs in jobs.chunks(500) {
        board.create(jobs).await;
    }
    ids
}

async fn each_job_is_claimed_once(given: Given) {
    let board = Board::new(given);
    let ids = fill(&board, 400).await;
    let taken = at_once(&board, async |board, at| {
        let mut taken = Vec::new();
        loop {
            let claimed = board.ids(&Board::wish(1 + at % 3)).await;
            if claimed.is_empty() {
                return taken;
            }
            taken.extend(claimed);
        }
    });
    let taken: Vec<String> = taken.await.concat();
    assert_eq!(taken.len(), ids.len(), "none twice");
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids);
}

async fn one_of_many_adds_a_unique_job(given: Given) {
    let board = Board::new(given);
    for round in 0..10 {
        let added = at_once(&board, move |board, at| async move {
            let (id, key) = (format!("{round} {at:02}"), format!("key {round}"));
            let job = NewJob {
                unique_key: Some(&key),
                unique: Unique::Replace,
                ..board.job(&id)
            };
            (id.clone(), board.add(&[job]).await.remove(0))
        })
        .await;
        let created: Vec<_> = added
            .iter()
            .filter(|(_, added)| *added == Added::Created)
            .map(|(id, _)| id)
            .collect();
        assert_eq!(created.len(), 1, "round {round}");
        for (_, added) in &added {
            if let Added::Existing { id, .. } = added {
                assert_eq!(id, created[0]);
            }
        }
        assert_eq!(board.ids(&Board::wish(50)).await, [created[0].clone()]);
    }
}

async fn one_of_many_adds_an_id(given: Given) {
    let board = Board::new(given);
    let added = at_once(&board, async |board, _| {
        let mut n_created = 0;
        for at in 0..20 {
            let id = format!("{at:02}");
            let added = board.add(&[board.job(&id)]).await;
            n_created += usize::from(added == [Added::Created]);
        }
        n_created
    });
    assert_eq!(added.await.into_iter().sum::<usize>(), 20);
    assert_eq!(board.claim(100).await.len(), 20);
}

async fn lanes_hold_among_many(given: Given) {
    let board = Board::new(given);
    let ids: Vec<_> = (0..120).map(|at| format!("{at:03}")).collect();
    let lanes: Vec<_> = (0..120).map(|at| format!("lane {}", at % 5)).collect();
    let jobs: Vec<_> = ids
        .iter()
        .zip(&lanes)
        .map(|(id, lane)| NewJob {
            lane: Some(lane),
            ..board.job(id)
        })
        .collect();
    board.create(&jobs).await;
    let orders = at_once(&board, async |board, _| {
        let mut done = Vec::new();
        loop {
            let claimed = board.claim(2).await;
            for claimed in &claimed {
                let lane = claimed.job.lane.clone();
                let running = [JobState::Running];
                let filter = crate::queue::Filter {
                    queue: None,
                    plugin: None,
                    states: &running,
                    after: None,
                    limit: 100,
                };
                let running = board.queue().list(&filter).await.expect("lists");
                let n_same = running.iter().filter(|job| job.lane == lane).count();
                assert_eq!(n_same, 1, "{lane:?}");
                assert!(board.end(&claimed.lease, DONE).await);
                done.push(claimed.job.id.clone());
            }
            if claimed.is_empty() && board.queue().n_living(QUEUE, &board.plugin, 1).await == Ok(0)
            {
                return done;
            }
        }
    })
    .await;
    assert_eq!(orders.concat().len(), ids.len());
}

async fn caps_hold_among_many(given: Given) {
    let board = Board::new(given);
    fill(&board, 150).await;
    at_once(&board, async |board, _| {
        let caps = [(board.plugin.clone(), 3)];
        let claim = Claim {
            caps: &caps,
            ..Board::wish(2)
        };
        loop {
            let claimed = board.claim_as(&claim).await;
            let counts = board.queue().counts().await.expect("counts");
            let running = counts.iter().find(|count| count.state == JobState::Running);
            let n_running = running.map_or(0, |count| count.n);
            assert!(n_running <= 3, "{n_running}");
            for claimed in &claimed {
                assert!(board.end(&claimed.lease, DONE).await);
            }
            if claimed.is_empty() && board.queue().n_living(QUEUE, &board.plugin, 1).await == Ok(0)
            {
                return;
            }
        }
    })
    .await;
}

async fn an_end_takes_effect_once(given: Given) {
    let board = Board::new(given);
    for round in 0..10 {
        let id = format!("job {round}");
        board.create_all(&[&id]).await;
        let lease = board.take(&id).await;
        let ended = at_once(&board, move |board, at| {
            let lease = lease.clone();
            async move {
                let how = if at % 2 == 0 { DONE } else { Ending::Fail(WHY) };
                board.end(&lease, how).await.then_some(at)
            }
        });
        let winners: Vec<_> = ended.await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let state = board.state(&id).await;
        assert_eq!(state == JobState::Completed, winners[0] % 2 == 0);
    }
}

async fn an_effect_happens_once_among_many(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let lease = board.take("a").await;
    let told = at_once(&board, move |board, at| {
        let lease = lease.clone();
        async move {
            let value = raw(&at.to_string());
            match board.queue().effect(&lease, "key", &value).await {
                Ok(Effect::First) => (at, true),
                Ok(Effect::Again(first)) => (first.get().parse().expect("is a number"), false),
                other => panic!("{other:?}"),
            }
        }
    });
    let told = told.await;
    let first: Vec<_> = told.iter().filter(|(_, first)| *first).collect();
    assert_eq!(first.len(), 1);
    assert!(told.iter().all(|(at, _)| *at == first[0].0), "{told:?}");
}

async fn a_lost_job_is_taken_back_once(given: Given) {
    let board = Board::new(given);
    let ids = fill(&board, 100).await;
    assert_eq!(board.claim(100).await.len(), 100);
    board.clock.advance_ms(LEASE_MS);
    let recovered = at_once(&board, async |board, _| board.recover().await);
    let recovered: Vec<_> = recovered.await.concat();
    let told: BTreeSet<_> = recovered.iter().map(|job| job.id.clone()).collect();
    assert_eq!((recovered.len(), told), (100, ids));
    for id in ["00000", "00099"] {
        assert_eq!(board.find(id).await.n_crashes, 1);
    }
}

async fn an_end_and_a_wish_for_it_agree(given: Given) {
    let board = Board::new(given);
    for round in 0..20 {
        let id = format!("job {round}");
        board.create_all(&[&id]).await;
        let lease = board.take(&id).await;
        let ended = at_once(&board, |board, at| {
            let (lease, id) = (lease.clone(), id.clone());
            async move {
                if at == 0 {
                    assert!(board.end(&lease, retry(0)).await);
                    return Cancelled::Unknown;
                }
                board.queue().cancel(&id).await.expect("is asked")
            }
        });
        let told = ended.await;
        let (state, ..) = board.outcome(&id).await;
        assert_eq!(state, JobState::Cancelled, "{told:?}");
    }
}

/// What one caller saw.
#[derive(Default)]
struct Seen {
    created: BTreeSet<String>,
    tokens: Vec<JobLease>,
    completed: Vec<String>,
}

async fn many_that_do_everything_lose_nothing(given: Given) {
    let board = Board::new(given);
    let seen = at_once(&board, async |board, at| {
        let mut seen = Seen::default();
        for step in 0..25 {
            everything(&board, at, step, &mut seen).await;
        }
        seen
    })
    .await;
    let mut tokens: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut created = BTreeSet::new();
    let mut completed = Vec::new();
    for seen in seen {
        created.extend(seen.created);
        completed.extend(seen.completed);
        for lease in seen.tokens {
            let new = tokens.entry(lease.id).or_default().insert(lease.token);
            assert!(new, "no token twice");
        }
    }
    let n_completed = completed.len();
    completed.sort_unstable();
    completed.dedup();
    assert_eq!(completed.len(), n_completed, "none is completed twice");
    for id in &created {
        let job = board.find(id).await;
        let is_completed = completed.binary_search(id).is_ok();
        assert_eq!(job.state == JobState::Completed, is_completed, "{id}");
        let last = tokens.get(id).and_then(|tokens| tokens.last().copied());
        assert_eq!(job.token, last.unwrap_or(0), "{id}");
    }
    let counts = board.queue().counts().await.expect("counts");
    let n_all: u64 = counts.iter().map(|count| count.n).sum();
    assert_eq!(n_all, created.len() as u64, "nothing is lost");
}

/// One turn of a caller: something of everything, by its number.
async fn everything(board: &Board, at: usize, step: usize, seen: &mut Seen) {
    let id = format!("{at:02} {step:02}");
    let (lane, key) = (format!("lane {}", step % 4), format!("key {}", step % 6));
    let job = NewJob {
        lane: step.is_multiple_of(3).then_some(&lane),
        unique_key: step.is_multiple_of(5).then_some(&key),
        ..board.job(&id)
    };
    if board.add(&[job]).await == [Added::Created] {
        seen.created.insert(id.clone());
    }
    let claimed = board.claim(2).await;
    seen.tokens
        .extend(claimed.iter().map(|claimed| claimed.lease.clone()));
    for (which, claimed) in claimed.iter().enumerate() {
        let lease = &claimed.lease;
        assert!(matches!(board.renew(lease).await, Renewed::Held { .. }));
        let how = match (at + step + which) % 5 {
            0 => retry(0),
            1 => Ending::Release { after_ms: 0 },
            2 => Ending::Fail(WHY),
            _ => DONE,
        };
        let ended = board.end_all(&[End { lease, how }]).await;
        assert_eq!(ended, [true]);
        if matches!(how, Ending::Complete { .. }) {
            seen.completed.push(lease.id.clone());
        }
    }
    if step.is_multiple_of(7) {
        board.queue().cancel(&id).await.expect("is asked");
    }
}
