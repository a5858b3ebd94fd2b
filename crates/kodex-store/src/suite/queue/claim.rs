//! Which jobs a claim takes.

use super::board::{Board, DONE, LEASE_MS, QUEUE, WHY, retry};
use crate::{
    queue::{Claim, Ending, JobState, MALFORMED, NewJob, Priority, Renewed},
    suite::{Case, cases, given::Given},
};

pub(crate) const CASES: &[Case] = cases![
    a_claim_gives_a_lease,
    urgent_ones_come_first_then_the_longest_due_then_by_id,
    a_claim_takes_no_more_than_it_asks_for,
    what_is_not_due_stays,
    what_is_too_old_stays,
    queues_are_apart,
    one_of_a_lane_runs_at_a_time,
    a_lane_is_one_over_plugins_and_queues,
    a_lane_is_free_when_its_job_is_not_running,
    caps_hold_over_queues_and_calls,
    only_named_plugins_are_served,
    a_crowd_that_may_not_run_hides_nobody,
    lease_lengths_are_brought_into_bounds,
    rows_that_cannot_be_read_are_buried,
];

async fn a_claim_gives_a_lease(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    board.clock.advance_ms(3);
    let claimed = board.claim(1).await.pop().expect("is due");
    let until_ms = board.now_ms() + LEASE_MS;
    assert_eq!((claimed.until_ms, claimed.lease_ms), (until_ms, LEASE_MS));
    assert_eq!(claimed.lease.id, "a");
    assert_eq!(claimed.lease.token, claimed.job.token);
    let stored = board.find("a").await;
    for job in [&claimed.job, &stored] {
        assert_eq!(job.state, JobState::Running);
        assert_eq!((job.attempt, job.token), (1, 1));
        assert_eq!(job.holder.as_deref(), Some("holder"));
        assert_eq!(job.until_ms, Some(until_ms));
        assert_eq!(job.started_at_ms, Some(board.now_ms()));
        assert_eq!(job.payload.get(), "{\"a\":1}");
    }
    assert!(board.claim(1).await.is_empty());
    assert!(board.end(&claimed.lease, retry(0)).await);
    let again = board.take("a").await;
    assert!(again.token > claimed.lease.token);
}

async fn urgent_ones_come_first_then_the_longest_due_then_by_id(given: Given) {
    let board = Board::new(given);
    for (id, priority, delay_ms) in [
        ("low old", Priority::Low, 0),
        ("normal b", Priority::Normal, 7),
        ("normal new", Priority::Normal, 9),
        ("normal a", Priority::Normal, 7),
        ("urgent new", Priority::Urgent, 9),
        ("normal B", Priority::Normal, 7),
        ("urgent old", Priority::Urgent, 8),
        ("normal é", Priority::Normal, 7),
    ] {
        let job = NewJob {
            priority,
            delay_ms,
            ..board.job(id)
        };
        board.create(&[job]).await;
    }
    board.clock.advance_ms(10);
    let want = [
        "urgent old",
        "urgent new",
        "normal B",
        "normal a",
        "normal b",
        "normal é",
        "normal new",
        "low old",
    ];
    for part in want.chunks(3) {
        assert_eq!(board.ids(&Board::wish(3)).await, part);
    }
}

async fn a_claim_takes_no_more_than_it_asks_for(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b", "c"]).await;
    for (n, want) in [
        (0, vec![]),
        (2, vec!["a", "b"]),
        (2, vec!["c"]),
        (2, vec![]),
    ] {
        assert_eq!(board.ids(&Board::wish(n)).await, want);
    }
}

async fn what_is_not_due_stays(given: Given) {
    let board = Board::new(given);
    let job = NewJob {
        delay_ms: 10,
        ..board.job("a")
    };
    board.create(&[job]).await;
    board.clock.advance_ms(9);
    assert!(board.claim(1).await.is_empty());
    board.clock.advance_ms(1);
    board.take("a").await;
}

async fn what_is_too_old_stays(given: Given) {
    let board = Board::new(given);
    let job = |id, max_age_ms| NewJob {
        max_age_ms: Some(max_age_ms),
        ..board.job(id)
    };
    board.create(&[job("a", 10), job("b", 11)]).await;
    board.clock.advance_ms(10);
    assert_eq!(board.ids(&Board::wish(5)).await, ["b"]);
    assert_eq!(board.state("a").await, JobState::Pending);
}

async fn queues_are_apart(given: Given) {
    let board = Board::new(given);
    let elsewhere = NewJob {
        queue: "elsewhere",
        ..board.job("a")
    };
    board.create(&[elsewhere, board.job("b")]).await;
    assert_eq!(board.ids(&Board::wish(5)).await, ["b"]);
    let claim = Claim {
        queue: "elsewhere",
        ..Board::wish(5)
    };
    assert_eq!(board.ids(&claim).await, ["a"]);
}

async fn one_of_a_lane_runs_at_a_time(given: Given) {
    let board = Board::new(given);
    let in_lane = |id, lane| NewJob {
        lane: Some(lane),
        ..board.job(id)
    };
    board
        .create(&[
            in_lane("a1", "a"),
            in_lane("a2", "a"),
            in_lane("b1", "b"),
            board.job("free"),
            in_lane("a3", "a"),
        ])
        .await;
    let first = board.claim(5).await;
    let ids: Vec<_> = first
        .iter()
        .map(|claimed| claimed.job.id.as_str())
        .collect();
    assert_eq!(ids, ["a1", "b1", "free"]);
    assert!(board.claim(5).await.is_empty());
    assert!(board.end(&first[0].lease, DONE).await);
    assert_eq!(board.ids(&Board::wish(5)).await, ["a2"]);
    let urgent = NewJob {
        priority: Priority::Urgent,
        ..in_lane("a0", "a")
    };
    board.create(&[urgent]).await;
    assert!(
        board.claim(5).await.is_empty(),
        "also one that hurries waits"
    );
}

async fn a_lane_is_one_over_plugins_and_queues(given: Given) {
    let board = Board::new(given);
    let lane = Some("lane");
    let elsewhere = NewJob {
        queue: "elsewhere",
        lane,
        ..board.job("b")
    };
    let of_other = NewJob {
        plugin: &board.other,
        lane,
        ..board.job("c")
    };
    let job = NewJob {
        lane,
        ..board.job("a")
    };
    board.create(&[job, elsewhere, of_other]).await;
    let lease = board.take("a").await;
    let claim = Claim {
        queue: "elsewhere",
        ..Board::wish(5)
    };
    assert!(board.claim(5).await.is_empty());
    assert!(board.claim_as(&claim).await.is_empty());
    assert!(board.end(&lease, DONE).await);
    assert_eq!(board.ids(&claim).await, ["b"]);
    assert!(board.claim(5).await.is_empty());
}

async fn a_lane_is_free_when_its_job_is_not_running(given: Given) {
    let board = Board::new(given);
    let go_on = Ending::GoOn {
        checkpoint: None,
        after_ms: 1_000,
    };
    for (at, how) in [
        DONE,
        Ending::Fail(WHY),
        Ending::Bury(WHY),
        Ending::Block(WHY),
        Ending::Cancelled(WHY),
        retry(1_000),
        go_on,
        Ending::Release { after_ms: 1_000 },
    ]
    .into_iter()
    .enumerate()
    {
        let lane = format!("lane {at}");
        let (first, second) = (format!("{at} first"), format!("{at} second"));
        let job = |id| NewJob {
            lane: Some(&lane),
            ..board.job(id)
        };
        board.create(&[job(&first), job(&second)]).await;
        board.through(&first, how).await;
        let lease = board.take(&second).await;
        assert!(board.end(&lease, DONE).await);
    }
    let job = |id| NewJob {
        lane: Some("crash"),
        ..board.job(id)
    };
    board.clock.advance_ms(1_000);
    assert_eq!(board.claim(10).await.len(), 3, "those that wait");
    board.create(&[job("dies"), job("waits")]).await;
    board.take("dies").await;
    board.clock.advance_ms(LEASE_MS);
    assert!(board.claim(10).await.is_empty(), "until it is taken back");
    board.recover().await;
    board.take("waits").await;
}

async fn caps_hold_over_queues_and_calls(given: Given) {
    let board = Board::new(given);
    let of_other = NewJob {
        plugin: &board.other,
        ..board.job("c")
    };
    let elsewhere = NewJob {
        queue: "elsewhere",
        ..board.job("e")
    };
    board.create_all(&["a", "b"]).await;
    board.create(&[of_other, board.job("d"), elsewhere]).await;
    let caps = [(board.plugin.clone(), 2)];
    let capped = |n, queue| Claim {
        queue,
        caps: &caps,
        ..Board::wish(n)
    };
    let taken = board.claim_as(&capped(1, QUEUE)).await;
    assert_eq!(board.ids(&capped(5, QUEUE)).await, ["b", "c"]);
    assert!(board.claim_as(&capped(5, QUEUE)).await.is_empty());
    assert!(board.claim_as(&capped(5, "elsewhere")).await.is_empty());
    assert!(board.end(&taken[0].lease, DONE).await);
    assert_eq!(board.ids(&capped(5, "elsewhere")).await, ["e"]);
    let none = [(board.plugin.clone(), 0)];
    let claim = Claim {
        caps: &none,
        ..Board::wish(5)
    };
    assert!(board.claim_as(&claim).await.is_empty());
    assert_eq!(board.ids(&Board::wish(5)).await, ["d"], "no cap, no bound");
}

async fn only_named_plugins_are_served(given: Given) {
    let board = Board::new(given);
    let of_other = NewJob {
        plugin: &board.other,
        ..board.job("b")
    };
    board.create(&[board.job("a"), of_other]).await;
    for (plugins, want) in [
        (vec![], vec![]),
        (vec![board.other.clone()], vec!["b"]),
        (vec![board.other.clone(), board.plugin.clone()], vec!["a"]),
    ] {
        let claim = Claim {
            plugins: Some(&plugins),
            ..Board::wish(5)
        };
        assert_eq!(board.ids(&claim).await, want, "{plugins:?}");
    }
}

async fn a_crowd_that_may_not_run_hides_nobody(given: Given) {
    let board = Board::new(given);
    for at in 0..3 {
        let ids: Vec<_> = (0..700).map(|id| format!("{at} {id:04}")).collect();
        let jobs: Vec<_> = ids
            .iter()
            .map(|id| NewJob {
                plugin: if at == 1 { &board.other } else { &board.plugin },
                lane: (at == 0).then_some("lane"),
                ..board.job(id)
            })
            .collect();
        board.create(&jobs).await;
        board.clock.advance_ms(1);
    }
    let caps = [(board.other.clone(), 1)];
    let claim = Claim {
        caps: &caps,
        ..Board::wish(3)
    };
    assert_eq!(board.ids(&claim).await, ["0 0000", "1 0000", "2 0000"]);
    assert_eq!(board.ids(&claim).await, ["2 0001", "2 0002", "2 0003"]);
    let low = NewJob {
        priority: Priority::Low,
        plugin: &board.other,
        ..board.job("low")
    };
    board.create(&[low]).await;
    let wide = Claim {
        n: 1_000,
        caps: &caps,
        ..Board::wish(3)
    };
    assert_eq!(board.claim_as(&wide).await.len(), 696);
    assert!(board.claim_as(&wide).await.is_empty());
}

async fn lease_lengths_are_brought_into_bounds(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b"]).await;
    for (lease_ms, want_ms) in [(0, 100), (u64::MAX, 86_400_000)] {
        let claim = Claim {
            lease_ms,
            ..Board::wish(1)
        };
        let claimed = board.claim_as(&claim).await.pop().expect("is due");
        assert_eq!(claimed.lease_ms, want_ms);
        assert_eq!(claimed.until_ms, board.now_ms() + want_ms);
        let renewed = board
            .queue()
            .renew(std::slice::from_ref(&claimed.lease), lease_ms)
            .await;
        let held = Renewed::Held {
            until_ms: board.now_ms() + want_ms,
            cancel: false,
        };
        assert_eq!(renewed, Ok(vec![held]));
    }
}

async fn rows_that_cannot_be_read_are_buried(given: Given) {
    let board = Board::new(given);
    for (at, damage) in ["payload = '{'", "plugin = ''", "checkpoint = ''"]
        .iter()
        .enumerate()
    {
        let (bad, good) = (format!("{at} bad"), format!("{at} good"));
        board.create_all(&[&bad, &good]).await;
        board
            .sql(&format!("UPDATE jobs SET {damage} WHERE id = '{bad}'"))
            .await;
        assert_eq!(board.ids(&Board::wish(1)).await, [good], "{damage}");
        let error = board.queue().find(&bad).await.expect_err("cannot be read");
        assert_eq!(error.code(), "store.damaged");
        board
            .sql(&format!(
                "UPDATE jobs SET payload = '{{}}', checkpoint = NULL, plugin = '{}' WHERE id = '{bad}'",
                board.plugin
            ))
            .await;
        let (state, code, text) = board.outcome(&bad).await;
        assert_eq!((state, code.as_deref()), (JobState::Dead, Some(MALFORMED)));
        assert!(text.is_some(), "people are told what");
        assert!(board.find(&bad).await.ended_at_ms.is_some());
    }
}
