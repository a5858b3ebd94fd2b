//! What becomes of jobs whose holder is gone or whose time is over.

use super::board::{Board, DONE, LEASE_MS, QUEUE, RULES, WHY, retry};
use crate::{
    queue::{
        ATTEMPTS_EXHAUSTED, CANCELLED, Cancelled, Claim, EXPIRED, Ending, JobState, LEASE_RAN_OUT,
        NewJob, POISON, Recover, Recovered, Renewed,
    },
    suite::{Case, cases, given::Given},
};

pub(crate) const CASES: &[Case] = cases![
    a_lost_job_goes_on_after_a_pause,
    what_is_held_stays,
    the_reasons_have_an_order,
    old_ones_end_wherever_they_wait,
    a_poison_ends_whatever_attempts_are_left,
    rules_may_have_no_pauses,
    no_more_are_taken_back_than_asked_for,
    rows_that_cannot_be_read_stop_nobody,
    a_clock_that_goes_back_prolongs_and_loses_nothing,
];

async fn a_lost_job_goes_on_after_a_pause(given: Given) {
    let board = Board::new(given);
    let job = NewJob {
        max_attempts: 9,
        ..board.job("a")
    };
    board.create(&[job]).await;
    for (crash, pause_ms) in [(1, 1_000), (2, 5_000), (3, 5_000)] {
        let lease = board.take("a").await;
        assert_eq!(board.find("a").await.attempt, crash);
        board.clock.advance_ms(LEASE_MS - 1);
        assert!(board.recover().await.is_empty());
        board.clock.advance_ms(1);
        let rules = Recover {
            max_crashes: 4,
            ..RULES
        };
        let recovered = board.queue().recover(&rules).await;
        let want = Recovered {
            id: "a".to_owned(),
            queue: QUEUE.to_owned(),
            plugin: board.plugin.clone(),
            state: JobState::Pending,
            reason_code: None,
        };
        assert_eq!(recovered, Ok(vec![want]));
        let job = board.find("a").await;
        assert_eq!((job.state, job.n_crashes), (JobState::Pending, crash));
        assert_eq!((job.attempt, job.token), (crash, lease.token), "it counts");
        assert_eq!(job.due_at_ms, board.now_ms() + pause_ms);
        assert_eq!((job.holder, job.until_ms), (None, None));
        assert_eq!(job.reason_code.as_deref(), Some(LEASE_RAN_OUT));
        assert!(!board.end(&lease, DONE).await, "a zombie");
        assert!(board.recover().await.is_empty(), "once");
        board.clock.advance_ms(pause_ms);
    }
}

async fn what_is_held_stays(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b", "waits"]).await;
    let claimed = board.claim(2).await;
    board.clock.advance_ms(LEASE_MS - 1);
    board.renew(&claimed[1].lease).await;
    board.clock.advance_ms(1);
    let recovered = board.recover().await;
    let ids: Vec<_> = recovered.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, ["a"]);
    assert!(board.end(&claimed[1].lease, DONE).await);
    assert_eq!(board.state("waits").await, JobState::Pending);
}

/// What a job needs so that the causes of this row hold for it.
struct Row {
    asked: bool,
    old: bool,
    poison: bool,
    last: bool,
    want: (JobState, Option<&'static str>),
}

async fn the_reasons_have_an_order(given: Given) {
    let board = Board::new(given);
    let mut rows = Vec::new();
    for causes in 0..16_u8 {
        let [asked, old, poison, last] = [1, 2, 4, 8].map(|cause| causes & cause != 0);
        let want = match (asked, old, poison, last) {
            (true, ..) => (JobState::Cancelled, Some(CANCELLED)),
            (_, true, ..) => (JobState::Dead, Some(EXPIRED)),
            (_, _, true, _) => (JobState::Dead, Some(POISON)),
            (_, _, _, true) => (JobState::Dead, Some(ATTEMPTS_EXHAUSTED)),
            _ => (JobState::Pending, None),
        };
        rows.push(Row {
            asked,
            old,
            poison,
            last,
            want,
        });
    }
    for (at, row) in rows.into_iter().enumerate() {
        let id = format!("job {at:02}");
        let job = NewJob {
            max_attempts: if row.last { 1 } else { 5 },
            max_age_ms: Some(if row.old { LEASE_MS } else { LEASE_MS + 1 }),
            ..board.job(&id)
        };
        board.create(&[job]).await;
        board.take(&id).await;
        if row.asked {
            assert_eq!(board.queue().cancel(&id).await, Ok(Cancelled::Asked));
        }
        board.clock.advance_ms(LEASE_MS);
        let rules = Recover {
            max_crashes: if row.poison { 1 } else { 2 },
            ..RULES
        };
        let recovered = board.queue().recover(&rules).await.expect("recovers");
        assert_eq!(recovered.len(), 1, "{id}");
        let told = (recovered[0].state, recovered[0].reason_code.as_deref());
        assert_eq!(told, row.want, "{id}");
        let job = board.find(&id).await;
        assert_eq!(job.state, row.want.0, "{id}");
        let code = row.want.1.or(Some(LEASE_RAN_OUT));
        assert_eq!(job.reason_code.as_deref(), code, "{id}");
        assert!(job.reason.is_some(), "{id}");
        assert_eq!((job.n_crashes, job.cancel), (1, false), "{id}");
        let over = (job.state != JobState::Pending).then(|| board.now_ms());
        assert_eq!(job.ended_at_ms, over, "{id}");
        board.queue().cancel(&id).await.expect("leaves room");
    }
}

async fn old_ones_end_wherever_they_wait(given: Given) {
    let board = Board::new(given);
    let job = |id| NewJob {
        max_age_ms: Some(100_000),
        unique_key: Some(id),
        ..board.job(id)
    };
    board.create(&[job("blocked")]).await;
    board.through("blocked", Ending::Block(WHY)).await;
    board.create(&[job("completed")]).await;
    board.through("completed", DONE).await;
    board.create(&[job("held")]).await;
    let held = board.take("held").await;
    let later = NewJob {
        delay_ms: 500_000,
        ..job("later")
    };
    board
        .create(&[job("pending"), later, board.job("ageless")])
        .await;
    board.clock.advance_ms(20_000);
    for _ in 0..4 {
        assert!(matches!(board.renew(&held).await, Renewed::Held { .. }));
        board.clock.advance_ms(20_000);
    }
    assert!(
        matches!(board.renew(&held).await, Renewed::Held { .. }),
        "as long as it lives"
    );
    let recovered = board.recover().await;
    let told: Vec<_> = recovered
        .iter()
        .map(|job| (job.id.as_str(), job.state, job.reason_code.as_deref()))
        .collect();
    let dead = (JobState::Dead, Some(EXPIRED));
    let want = ["blocked", "later", "pending"].map(|id| (id, dead.0, dead.1));
    assert_eq!(told, want);
    for id in ["blocked", "later", "pending"] {
        let job = board.find(id).await;
        assert_eq!(
            (job.n_crashes, job.ended_at_ms),
            (0, Some(board.now_ms())),
            "{id}"
        );
    }
    assert!(board.end(&held, retry(0)).await);
    assert_eq!(board.recover().await.len(), 1, "and then no longer");
    assert_eq!(board.state("ageless").await, JobState::Pending);
    board
        .create(&[NewJob {
            id: "next",
            ..job("pending")
        }])
        .await;
}

async fn a_poison_ends_whatever_attempts_are_left(given: Given) {
    let board = Board::new(given);
    let job = NewJob {
        max_attempts: 100,
        ..board.job("a")
    };
    board.create(&[job]).await;
    for crash in 1..=3 {
        for _ in 0..3 {
            // What fails in between is no crash.
            board.through("a", retry(0)).await;
        }
        board.take("a").await;
        board.clock.advance_ms(LEASE_MS);
        assert_eq!(board.recover().await.len(), 1);
        assert_eq!(board.find("a").await.n_crashes, crash);
        board.clock.advance_ms(5_000);
    }
    let (state, code, _) = board.outcome("a").await;
    assert_eq!((state, code.as_deref()), (JobState::Dead, Some(POISON)));
    assert_eq!(board.queue().revive("a").await, Ok(Some(true)));
    board.take("a").await;
    board.clock.advance_ms(LEASE_MS);
    board.recover().await;
    assert_eq!(
        board.state("a").await,
        JobState::Pending,
        "counts begin anew"
    );
}

async fn rules_may_have_no_pauses(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    board.take("a").await;
    board.clock.advance_ms(LEASE_MS);
    let rules = Recover {
        pauses_ms: &[],
        ..RULES
    };
    let mut hints = board.queue().hints().await.expect("gives");
    hints.mark_unchanged();
    assert_eq!(
        board.queue().recover(&rules).await.map(|all| all.len()),
        Ok(1)
    );
    assert!(hints.has_changed().expect("the store is there"));
    board.take("a").await;
}

async fn no_more_are_taken_back_than_asked_for(given: Given) {
    let board = Board::new(given);
    let old = |id| NewJob {
        max_age_ms: Some(1),
        queue: "elsewhere",
        ..board.job(id)
    };
    board.create_all(&["a", "b", "c"]).await;
    board.create(&[old("d"), old("e")]).await;
    board.claim(3).await;
    board.clock.advance_ms(LEASE_MS);
    let rules = |limit| Recover { limit, ..RULES };
    let mut n_all = 0;
    for (limit, want) in [(0, 0), (2, 2), (2, 2), (2, 1), (2, 0)] {
        let recovered = board.queue().recover(&rules(limit)).await;
        let recovered = recovered.expect("recovers");
        assert_eq!(recovered.len(), want);
        n_all += want;
        let crashed = |job: &Recovered| job.reason_code.is_none();
        if n_all <= 2 {
            assert!(recovered.iter().all(crashed), "leases come first");
        }
    }
}

async fn rows_that_cannot_be_read_stop_nobody(given: Given) {
    let board = Board::new(given);
    board.create_all(&["bad", "good"]).await;
    board.claim(2).await;
    board
        .sql("UPDATE jobs SET plugin = '' WHERE id = 'bad'")
        .await;
    board.clock.advance_ms(LEASE_MS);
    let recovered = board.recover().await;
    assert!(
        recovered.iter().any(|job| job.id == "good"),
        "{recovered:?}"
    );
    assert!(
        board.recover().await.is_empty(),
        "the other is out of the way"
    );
}

async fn a_clock_that_goes_back_prolongs_and_loses_nothing(given: Given) {
    let board = Board::new(given);
    let hour_ms = 3_600_000;
    let ageing = NewJob {
        max_age_ms: Some(10_000),
        ..board.job("ageing")
    };
    board.create_all(&["a", "b"]).await;
    let claimed = board.claim(2).await;
    board.clock.set_back_ms(hour_ms);
    assert!(board.recover().await.is_empty());
    assert!(board.claim(1).await.is_empty());
    assert!(board.end(&claimed[0].lease, DONE).await);
    board.create(&[ageing]).await;
    board.clock.set_back_ms(hour_ms);
    assert!(board.claim(1).await.is_empty(), "not due any more");
    let claim = Claim {
        queue: "elsewhere",
        ..Board::wish(1)
    };
    assert!(board.claim_as(&claim).await.is_empty());
    board.clock.advance_ms(hour_ms);
    board.take("ageing").await;
    board.clock.advance_ms(hour_ms + LEASE_MS);
    let recovered = board.recover().await;
    assert_eq!(recovered.len(), 2, "{recovered:?}");
    assert!(!board.end(&claimed[1].lease, DONE).await);
    assert_eq!(board.state("b").await, JobState::Pending);
}
