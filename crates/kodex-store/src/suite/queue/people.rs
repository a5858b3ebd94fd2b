//! What people and the runtime ask: ends, revivals, lists, counts, times, hints.

use super::board::{Board, DONE, LEASE_MS, QUEUE, WHY, retry};
use crate::{
    queue::{
        CANCELLED, Cancelled, Claim, Count, Ending, Filter, JobState, LogLine, LogStream, NewJob,
        Priority, Unique,
    },
    suite::{
        Case, cases,
        given::{Given, raw, soon},
    },
};

pub(crate) const CASES: &[Case] = cases![
    who_holds_nothing_is_cancelled_at_once,
    what_is_cancelled_frees_its_key_and_lane,
    what_ended_is_revived,
    a_revival_counts_its_age_anew,
    a_revival_yields_to_a_living_one_with_its_key,
    lists_are_newest_first_and_paged,
    lists_leave_out_what_cannot_be_read,
    counts_are_by_queue_plugin_and_state,
    living_ones_are_counted_to_a_limit,
    next_is_the_earlier_of_due_and_end,
    hints_come_when_there_may_be_something_to_claim,
    what_ended_long_ago_is_removed_with_all_it_left,
];

async fn who_holds_nothing_is_cancelled_at_once(given: Given) {
    let board = Board::new(given);
    let queue = board.queue();
    assert_eq!(queue.cancel("none").await, Ok(Cancelled::Unknown));
    board.create_all(&["blocked"]).await;
    board.through("blocked", Ending::Block(WHY)).await;
    let later = NewJob {
        delay_ms: 1_000,
        ..board.job("later")
    };
    board.create(&[board.job("pending"), later]).await;
    for id in ["pending", "later", "blocked"] {
        assert_eq!(queue.cancel(id).await, Ok(Cancelled::Done), "{id}");
        let (state, code, text) = board.outcome(id).await;
        assert_eq!(
            (state, code.as_deref()),
            (JobState::Cancelled, Some(CANCELLED))
        );
        assert!(text.is_some(), "{id}");
        assert_eq!(board.find(id).await.ended_at_ms, Some(board.now_ms()));
        let over = Ok(Cancelled::Over(JobState::Cancelled));
        assert_eq!(queue.cancel(id).await, over, "{id}");
    }
    assert!(board.claim(5).await.is_empty());
    for (id, how, state) in [
        ("a", DONE, JobState::Completed),
        ("b", Ending::Fail(WHY), JobState::Failed),
        ("c", Ending::Bury(WHY), JobState::Dead),
    ] {
        board.create_all(&[id]).await;
        board.through(id, how).await;
        assert_eq!(queue.cancel(id).await, Ok(Cancelled::Over(state)));
        assert_eq!(board.state(id).await, state);
    }
    board.create_all(&["lost"]).await;
    let lease = board.take("lost").await;
    board.clock.advance_ms(LEASE_MS);
    assert_eq!(queue.cancel("lost").await, Ok(Cancelled::Done));
    assert!(!board.end(&lease, DONE).await);
    let job = board.find("lost").await;
    assert_eq!((job.state, job.n_crashes), (JobState::Cancelled, 1));
    assert_eq!((job.holder, job.until_ms), (None, None));
}

async fn what_is_cancelled_frees_its_key_and_lane(given: Given) {
    let board = Board::new(given);
    let job = |id| NewJob {
        unique_key: Some("key"),
        lane: Some("lane"),
        ..board.job(id)
    };
    board.create(&[job("a")]).await;
    board.take("a").await;
    board.clock.advance_ms(LEASE_MS);
    assert_eq!(board.queue().cancel("a").await, Ok(Cancelled::Done));
    board.create(&[job("b")]).await;
    board.take("b").await;
}

async fn what_ended_is_revived(given: Given) {
    let board = Board::new(given);
    let checkpoint = raw("7");
    let result = raw("8");
    let complete = Ending::Complete {
        result: Some(&result),
    };
    for (at, how) in [
        complete,
        Ending::Fail(WHY),
        Ending::Bury(WHY),
        Ending::Block(WHY),
        Ending::Cancelled(WHY),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("job {at}");
        let job = NewJob {
            delay_ms: 5,
            ..board.job(&id)
        };
        board.create(&[job]).await;
        let queue = board.queue();
        assert_eq!(queue.revive(&id).await, Ok(Some(false)), "pending");
        board.clock.advance_ms(5);
        let go_on = Ending::GoOn {
            checkpoint: Some(&checkpoint),
            after_ms: 0,
        };
        board.through(&id, go_on).await;
        board.through(&id, retry(0)).await;
        board.take(&id).await;
        board.clock.advance_ms(LEASE_MS);
        board.recover().await;
        board.clock.advance_ms(1_000);
        let lease = board.take(&id).await;
        assert_eq!(queue.revive(&id).await, Ok(Some(false)), "running");
        assert!(board.end(&lease, how).await);
        let before = board.find(&id).await;
        assert_eq!(
            (before.attempt, before.n_crashes, before.n_slices),
            (3, 1, 1)
        );
        board.clock.advance_ms(9);
        assert_eq!(queue.revive(&id).await, Ok(Some(true)), "{id}");
        let job = board.find(&id).await;
        assert_eq!(
            (job.state, job.due_at_ms),
            (JobState::Pending, board.now_ms())
        );
        assert_eq!((job.attempt, job.n_crashes, job.n_slices), (0, 0, 0));
        assert_eq!((job.generation, job.token), (1, lease.token));
        assert_eq!(job.added_at_ms, before.added_at_ms);
        assert_eq!(
            (job.ended_at_ms, job.reason_code, job.reason),
            (None, None, None)
        );
        assert!(job.result.is_none());
        assert_eq!(job.checkpoint.expect("stays").get(), "7");
        let again = board.take(&id).await;
        assert!(again.token > lease.token);
        assert!(!board.end(&lease, DONE).await);
        assert!(board.end(&again, DONE).await);
    }
    assert_eq!(board.queue().revive("none").await, Ok(None));
}

async fn a_revival_counts_its_age_anew(given: Given) {
    let board = Board::new(given);
    let job = NewJob {
        max_age_ms: Some(100),
        ..board.job("a")
    };
    board.create(&[job]).await;
    board.clock.advance_ms(100);
    assert_eq!(board.recover().await.len(), 1);
    board.clock.advance_ms(50);
    for _ in 0..2 {
        assert_eq!(board.queue().revive("a").await, Ok(Some(true)));
        let job = board.find("a").await;
        assert_eq!(job.expires_at_ms, Some(board.now_ms() + 100));
        board.clock.advance_ms(20);
        board.through("a", Ending::Block(WHY)).await;
    }
    assert_eq!(board.find("a").await.generation, 2);
}

async fn a_revival_yields_to_a_living_one_with_its_key(given: Given) {
    let board = Board::new(given);
    let job = |id| NewJob {
        unique_key: Some("key"),
        ..board.job(id)
    };
    board.create(&[job("a")]).await;
    board.through("a", Ending::Fail(WHY)).await;
    board.create(&[job("b")]).await;
    let before = format!("{:?}", board.find("a").await);
    assert_eq!(board.queue().revive("a").await, Ok(Some(false)));
    assert_eq!(format!("{:?}", board.find("a").await), before);
    board.through("b", DONE).await;
    assert_eq!(board.queue().revive("a").await, Ok(Some(true)));
    assert_eq!(board.queue().revive("b").await, Ok(Some(false)));
}

const ALL: Filter<'static> = Filter {
    queue: None,
    plugin: None,
    states: &[],
    after: None,
    limit: 100,
};

async fn listed(board: &Board, filter: Filter<'_>) -> Vec<String> {
    let jobs = soon(board.queue().list(&filter)).await;
    let jobs = jobs.expect("the jobs are listed");
    jobs.into_iter().map(|job| job.id).collect()
}

async fn lists_are_newest_first_and_paged(given: Given) {
    let board = Board::new(given);
    // Two at a time, of two plugins and two queues in turns.
    for at in 0..4 {
        for (which, plugin) in [("x", &board.plugin), ("y", &board.other)] {
            let job = NewJob {
                plugin,
                queue: if at % 2 == 0 { QUEUE } else { "elsewhere" },
                priority: Priority::Urgent,
                ..board.job("")
            };
            let id = format!("{at}{which}");
            board.create(&[NewJob { id: &id, ..job }]).await;
        }
        board.clock.advance_ms(1);
    }
    let order = ["3y", "3x", "2y", "2x", "1y", "1x", "0y", "0x"];
    assert_eq!(listed(&board, ALL).await, order);
    for limit in [1, 3] {
        let mut seen = Vec::new();
        let mut after: Option<(u64, String)> = None;
        loop {
            let page = Filter {
                after: after.as_ref().map(|(at_ms, id)| (*at_ms, id.as_str())),
                limit,
                ..ALL
            };
            let page = board.queue().list(&page).await.expect("lists");
            let Some(last) = page.last() else { break };
            after = Some((last.added_at_ms, last.id.clone()));
            seen.extend(page.into_iter().map(|job| job.id));
        }
        assert_eq!(seen, order, "in pages of {limit}");
    }
    board.through("0x", DONE).await;
    let (plugin, queue) = (Some(&board.plugin), Some(QUEUE));
    let pending = [JobState::Pending];
    let over = [JobState::Completed, JobState::Failed];
    for (filter, want) in [
        (Filter { limit: 0, ..ALL }, &[][..]),
        (Filter { plugin, ..ALL }, &["3x", "2x", "1x", "0x"]),
        (Filter { queue, ..ALL }, &["2y", "2x", "0y", "0x"]),
        (
            Filter {
                queue,
                plugin,
                ..ALL
            },
            &["2x", "0x"],
        ),
        (
            Filter {
                queue: Some("none"),
                ..ALL
            },
            &[],
        ),
        (
            Filter {
                states: &over,
                ..ALL
            },
            &["0x"],
        ),
        (
            Filter {
                states: &pending,
                queue,
                ..ALL
            },
            &["2y", "2x", "0y"],
        ),
        (
            Filter {
                states: &pending,
                plugin,
                limit: 2,
                ..ALL
            },
            &["3x", "2x"],
        ),
    ] {
        assert_eq!(listed(&board, filter).await, want, "{filter:?}");
    }
}

async fn lists_leave_out_what_cannot_be_read(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b", "c"]).await;
    board
        .sql("UPDATE jobs SET payload = 'none' WHERE id = 'b'")
        .await;
    assert_eq!(listed(&board, ALL).await, ["c", "a"]);
    assert_eq!(listed(&board, Filter { limit: 2, ..ALL }).await, ["c", "a"]);
    let error = board.queue().find("b").await.expect_err("cannot be read");
    assert_eq!(error.code(), "store.damaged");
}

async fn counts_are_by_queue_plugin_and_state(given: Given) {
    let board = Board::new(given);
    let of_other = NewJob {
        plugin: &board.other,
        ..board.job("other")
    };
    let elsewhere = NewJob {
        queue: "elsewhere",
        ..board.job("elsewhere")
    };
    board.create(&[of_other]).await;
    board.take("other").await;
    board.create_all(&["a", "b", "c", "d", "e", "f"]).await;
    board.create(&[elsewhere]).await;
    for (id, how) in [
        ("a", DONE),
        ("b", DONE),
        ("c", Ending::Block(WHY)),
        ("d", Ending::Fail(WHY)),
    ] {
        board.through(id, how).await;
    }
    let mut counts = board.queue().counts().await.expect("counts");
    counts.sort_unstable_by_key(|count| format!("{count:?}"));
    let count = |queue: &str, plugin, state, n| Count {
        queue: queue.to_owned(),
        plugin: Clone::clone(plugin),
        state,
        n,
    };
    let mut want = vec![
        count(QUEUE, &board.plugin, JobState::Pending, 2),
        count(QUEUE, &board.plugin, JobState::Completed, 2),
        count(QUEUE, &board.plugin, JobState::Blocked, 1),
        count(QUEUE, &board.plugin, JobState::Failed, 1),
        count(QUEUE, &board.other, JobState::Running, 1),
        count("elsewhere", &board.plugin, JobState::Pending, 1),
    ];
    want.sort_unstable_by_key(|count| format!("{count:?}"));
    assert_eq!(counts, want);
}

async fn living_ones_are_counted_to_a_limit(given: Given) {
    let board = Board::new(given);
    let elsewhere = NewJob {
        queue: "elsewhere",
        ..board.job("elsewhere")
    };
    let of_other = NewJob {
        plugin: &board.other,
        priority: Priority::Low,
        ..board.job("other")
    };
    board.create_all(&["a", "b", "c", "d"]).await;
    board.create(&[elsewhere, of_other]).await;
    board.through("a", DONE).await;
    board.through("b", Ending::Block(WHY)).await;
    board.take("c").await;
    for (plugin, limit, want) in [
        (&board.plugin, 10, 2),
        (&board.plugin, 1, 1),
        (&board.plugin, 0, 0),
        (&board.other, 10, 1),
    ] {
        let n = board.queue().n_living(QUEUE, plugin, limit).await;
        assert_eq!(n, Ok(want), "{plugin} {limit}");
    }
}

async fn next_is_the_earlier_of_due_and_end(given: Given) {
    let board = Board::new(given);
    let next = async || board.queue().next_at(QUEUE).await.expect("tells");
    let start_ms = board.now_ms();
    let job = |id, delay_ms, priority| NewJob {
        delay_ms,
        priority,
        ..board.job(id)
    };
    board.create_all(&["due"]).await;
    assert_eq!(next().await, None, "what is due already is not awaited");
    board
        .create(&[
            job("far", 90_000, Priority::Urgent),
            job("near", 50_000, Priority::Low),
            NewJob {
                queue: "elsewhere",
                ..job("elsewhere", 10, Priority::Normal)
            },
        ])
        .await;
    assert_eq!(next().await, Some(start_ms + 50_000));
    let lease = board.take("due").await;
    assert_eq!(next().await, Some(start_ms + LEASE_MS));
    board.clock.advance_ms(10_000);
    board.renew(&lease).await;
    assert_eq!(next().await, Some(start_ms + 10_000 + LEASE_MS));
    board.clock.advance_ms(50_000);
    assert_eq!(
        next().await,
        Some(start_ms + 10_000 + LEASE_MS),
        "has to be taken back"
    );
    board.recover().await;
    assert_eq!(
        next().await,
        Some(board.now_ms() + 1_000),
        "after its pause"
    );
    let job = NewJob {
        unique_key: Some("key"),
        unique: Unique::Replace,
        ..job("first", 500, Priority::Normal)
    };
    board.create(&[job]).await;
    assert_eq!(next().await, Some(board.now_ms() + 500));
    board
        .add(&[NewJob {
            id: "again",
            delay_ms: 300,
            ..job
        }])
        .await;
    assert_eq!(next().await, Some(board.now_ms() + 300));
    board.queue().cancel("first").await.expect("is cancelled");
    assert_eq!(next().await, Some(board.now_ms() + 1_000));
}

async fn hints_come_when_there_may_be_something_to_claim(given: Given) {
    let board = Board::new(given);
    let mut hints = board.queue().hints().await.expect("gives");
    let in_lane = NewJob {
        lane: Some("lane"),
        ..board.job("lane")
    };
    hints.mark_unchanged();
    board.create_all(&["a"]).await;
    soon(hints.changed()).await.expect("a job was added");
    board.through("a", retry(0)).await;
    soon(hints.changed()).await.expect("it may be tried again");
    board.through("a", Ending::Fail(WHY)).await;
    hints.mark_unchanged();
    board.queue().revive("a").await.expect("is revived");
    soon(hints.changed()).await.expect("it was revived");
    board.through("a", DONE).await;
    board.create(&[in_lane]).await;
    soon(hints.changed()).await.expect("a job was added");
    hints.mark_unchanged();
    board.through("lane", DONE).await;
    soon(hints.changed()).await.expect("its lane is free");
}

async fn what_ended_long_ago_is_removed_with_all_it_left(given: Given) {
    let board = Board::new(given);
    let value = raw("1");
    let mut ended_at_ms = Vec::new();
    for (id, how) in [
        ("completed", DONE),
        ("blocked", Ending::Block(WHY)),
        ("failed", Ending::Fail(WHY)),
        ("dead", Ending::Bury(WHY)),
        ("cancelled", Ending::Cancelled(WHY)),
    ] {
        board.create_all(&[id]).await;
        let lease = board.take(id).await;
        let line = LogLine {
            stream: LogStream::Err,
            text: id.to_owned(),
        };
        board.queue().log(&lease, &[line]).await.expect("is kept");
        board
            .queue()
            .effect(&lease, "key", &value)
            .await
            .expect("is kept");
        assert!(board.end(&lease, how).await);
        ended_at_ms.push(board.now_ms());
        board.clock.advance_ms(10);
    }
    board.create_all(&["pending", "running"]).await;
    let claim = Claim {
        n: 1,
        ..Board::wish(1)
    };
    assert_eq!(board.ids(&claim).await, ["pending"]);
    let prune = async |at_ms, limit| board.queue().prune(at_ms, limit).await.expect("removes");
    assert_eq!(prune(ended_at_ms[0] - 1, 10).await, 0);
    assert_eq!(prune(ended_at_ms[0], 10).await, 1);
    assert!(
        board
            .queue()
            .find("completed")
            .await
            .expect("looks")
            .is_none()
    );
    assert_eq!(board.queue().logs("completed", 0, 10).await, Ok(Vec::new()));
    assert_eq!(prune(u64::MAX, 1).await, 1, "the longest ended");
    assert!(board.queue().find("failed").await.expect("looks").is_none());
    assert_eq!(prune(u64::MAX, 10).await, 2);
    assert_eq!(prune(u64::MAX, 10).await, 0);
    let left = listed(&board, ALL).await;
    assert_eq!(left, ["running", "pending", "blocked"]);
    let lines = board.queue().logs("blocked", 0, 10).await.expect("reads");
    assert_eq!(lines.len(), 1);
    // A job that has the id of a removed one has nothing of it.
    board.create_all(&["completed"]).await;
    let claimed = board.claim(5).await;
    let lease = &claimed.iter().find(|claimed| claimed.job.id == "completed");
    let lease = &lease.expect("is due").lease;
    let effect = board.queue().effect(lease, "key", &value).await;
    assert!(
        matches!(effect, Ok(crate::queue::Effect::First)),
        "{effect:?}"
    );
}
