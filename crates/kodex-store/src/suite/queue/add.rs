//! Jobs that are added, once and again.

use super::board::{Board, DONE, QUEUE, WHY, retry};
use crate::{
    queue::{
        Added, Ending, JobState, N_TOGETHER, NAME_CHARS, NewJob, PAYLOAD_BYTES, Priority, Unique,
    },
    suite::{
        Case, cases,
        given::{Given, raw},
    },
};

pub(crate) const CASES: &[Case] = cases![
    a_store_without_jobs_answers,
    a_job_is_stored_as_it_was_given,
    due_times_are_the_later_of_two,
    a_job_with_the_id_stays_as_it_is,
    unique_keys_are_of_living_jobs_of_a_plugin_and_queue,
    a_replaced_job_has_the_new_payload_and_time,
    a_debounced_job_waits_no_longer_than_said,
    a_running_job_is_not_changed,
    a_call_is_all_or_nothing,
    what_no_engine_may_see_is_refused,
];

fn existing(id: &str, changed: bool) -> Vec<Added> {
    vec![Added::Existing {
        id: id.to_owned(),
        changed,
    }]
}

async fn a_store_without_jobs_answers(given: Given) {
    let board = Board::new(given);
    let queue = board.queue();
    assert!(board.claim(10).await.is_empty());
    assert!(queue.find("none").await.expect("looks").is_none());
    assert_eq!(queue.counts().await, Ok(Vec::new()));
    assert_eq!(queue.n_living(QUEUE, &board.plugin, 10).await, Ok(0));
    assert_eq!(queue.next_at(QUEUE).await, Ok(None));
    assert_eq!(queue.revive("none").await, Ok(None));
    assert_eq!(queue.prune(u64::MAX, 10).await, Ok(0));
    assert_eq!(queue.logs("none", 0, 10).await, Ok(Vec::new()));
    assert!(board.recover().await.is_empty());
    assert_eq!(queue.now_ms().await, Ok(board.now_ms()));
    assert_eq!(queue.add(&[]).await, Ok(Vec::new()));
}

async fn a_job_is_stored_as_it_was_given(given: Given) {
    let board = Board::new(given);
    let text = "{\"b\" : 1,\"a\":[1.10, 1e3, \"é \u{1F600}\"]}";
    let payload = raw(text);
    let job = NewJob {
        name: "a name, 'quoted'",
        lane: Some("lane"),
        unique_key: Some("key"),
        priority: Priority::Urgent,
        payload: &payload,
        delay_ms: 5,
        max_age_ms: Some(70),
        max_attempts: 9,
        ..board.job("id é")
    };
    board.create(&[job]).await;
    let found = board.find("id é").await;
    let now_ms = board.now_ms();
    assert_eq!(found.queue, QUEUE);
    assert_eq!(found.plugin, board.plugin);
    assert_eq!(found.name, "a name, 'quoted'");
    assert_eq!(found.lane.as_deref(), Some("lane"));
    assert_eq!(found.unique_key.as_deref(), Some("key"));
    assert_eq!(found.priority, Priority::Urgent);
    assert_eq!(found.state, JobState::Pending);
    assert_eq!(found.payload.get(), text);
    assert_eq!((found.added_at_ms, found.due_at_ms), (now_ms, now_ms + 5));
    assert_eq!(found.expires_at_ms, Some(now_ms + 70));
    assert_eq!((found.attempt, found.max_attempts), (0, 9));
    assert_eq!(
        (found.n_crashes, found.n_slices, found.generation),
        (0, 0, 0)
    );
    assert_eq!((found.token, found.cancel), (0, false));
    assert!(found.checkpoint.is_none() && found.result.is_none());
    let nothing = (found.reason_code, found.reason, found.holder);
    assert_eq!(nothing, (None, None, None));
    let never = (found.started_at_ms, found.ended_at_ms, found.until_ms);
    assert_eq!(never, (None, None, None));
    board.create_all(&["plain"]).await;
    let plain = board.find("plain").await;
    assert_eq!(
        (plain.lane, plain.unique_key, plain.expires_at_ms),
        (None, None, None)
    );
}

async fn due_times_are_the_later_of_two(given: Given) {
    let board = Board::new(given);
    let now_ms = board.now_ms();
    for (id, delay_ms, due_at_ms, want) in [
        ("now", 0, None, now_ms),
        ("delayed", 10, None, now_ms + 10),
        ("dated", 0, Some(now_ms + 20), now_ms + 20),
        ("later date", 10, Some(now_ms + 20), now_ms + 20),
        ("later delay", 30, Some(now_ms + 20), now_ms + 30),
        ("past", 0, Some(now_ms - 20), now_ms),
    ] {
        let job = NewJob {
            delay_ms,
            due_at_ms,
            ..board.job(id)
        };
        board.create(&[job]).await;
        assert_eq!(board.find(id).await.due_at_ms, want, "{id}");
    }
}

async fn a_job_with_the_id_stays_as_it_is(given: Given) {
    let board = Board::new(given);
    let payload = raw("2");
    let first = NewJob {
        unique_key: Some("key"),
        ..board.job("a")
    };
    board.create(&[first]).await;
    let again = NewJob {
        payload: &payload,
        plugin: &board.other,
        queue: "elsewhere",
        unique: Unique::Replace,
        unique_key: Some("key"),
        ..board.job("a")
    };
    assert_eq!(board.add(&[again]).await, existing("a", false));
    let same = NewJob {
        unique: Unique::Replace,
        payload: &payload,
        ..first
    };
    assert_eq!(board.add(&[same]).await, existing("a", false));
    assert_eq!(board.find("a").await.payload.get(), "{\"a\":1}");
    board.through("a", DONE).await;
    assert_eq!(board.add(&[same]).await, existing("a", false), "over");
    assert_eq!(board.state("a").await, JobState::Completed);
    let twice = [board.job("b"), board.job("b")];
    let added = board.add(&twice).await;
    assert_eq!(added[0], Added::Created);
    assert_eq!(added[1..], existing("b", false));
}

async fn unique_keys_are_of_living_jobs_of_a_plugin_and_queue(given: Given) {
    let board = Board::new(given);
    let with_key = |id| NewJob {
        unique_key: Some("key"),
        ..board.job(id)
    };
    board.create(&[with_key("a")]).await;
    assert_eq!(board.add(&[with_key("b")]).await, existing("a", false));
    let elsewhere = NewJob {
        queue: "elsewhere",
        ..with_key("c")
    };
    let of_other = NewJob {
        plugin: &board.other,
        priority: Priority::Low,
        ..with_key("d")
    };
    board.create(&[elsewhere, of_other, board.job("e")]).await;
    let lease = board.take("a").await;
    assert_eq!(
        board.add(&[with_key("f")]).await,
        existing("a", false),
        "running"
    );
    assert!(board.end(&lease, Ending::Block(WHY)).await);
    board.create(&[with_key("g")]).await;
    for (id, how) in [
        ("e", DONE),
        ("g", DONE),
        ("h", Ending::Fail(WHY)),
        ("i", Ending::Bury(WHY)),
        ("j", Ending::Cancelled(WHY)),
    ] {
        if !matches!(id, "e" | "g") {
            board.create(&[with_key(id)]).await;
        }
        board.through(id, how).await;
    }
    board.create(&[with_key("k")]).await;
    let found = board.queue().find("b").await.expect("looks");
    assert!(found.is_none(), "what was reported was not stored");
}

async fn a_replaced_job_has_the_new_payload_and_time(given: Given) {
    let board = Board::new(given);
    let (one, two) = (raw("1"), raw("2"));
    let job = |id, payload, delay_ms| NewJob {
        unique_key: Some("key"),
        unique: Unique::Replace,
        payload,
        delay_ms,
        ..board.job(id)
    };
    board.create(&[job("a", &one, 0)]).await;
    let added_at_ms = board.now_ms();
    board.clock.advance_ms(5);
    let urgent = NewJob {
        priority: Priority::Urgent,
        max_attempts: 7,
        name: "other",
        lane: Some("lane"),
        ..job("b", &two, 100)
    };
    assert_eq!(board.add(&[urgent]).await, existing("a", true));
    let found = board.find("a").await;
    assert_eq!(found.payload.get(), "2");
    assert_eq!(found.due_at_ms, added_at_ms + 105);
    assert_eq!(found.added_at_ms, added_at_ms);
    assert_eq!((found.priority, found.max_attempts), (Priority::Normal, 3));
    assert_eq!((found.name.as_str(), found.lane), ("name", None));
    assert_eq!(
        board.add(&[job("c", &two, 0)]).await,
        existing("a", true),
        "sooner"
    );
    assert_eq!(board.ids(&Board::wish(5)).await, ["a"]);
}

async fn a_debounced_job_waits_no_longer_than_said(given: Given) {
    let board = Board::new(given);
    let two = raw("2");
    let job = |id, payload| NewJob {
        unique_key: Some("key"),
        unique: Unique::Debounce { max_wait_ms: 25 },
        delay_ms: 10,
        payload,
        ..board.job(id)
    };
    let start_ms = board.now_ms();
    let first = board.job("a").payload;
    board.create(&[job("a", first)]).await;
    for (step_ms, want_ms, changed) in [
        (8, 18, true),
        (8, 25, true),
        (8, 25, false),
        // The time of the last wish has passed; what is due stays due.
        (8, 25, false),
    ] {
        board.clock.advance_ms(step_ms);
        assert_eq!(board.add(&[job("b", &two)]).await, existing("a", changed));
        let found = board.find("a").await;
        assert_eq!(found.due_at_ms, start_ms + want_ms);
        assert_eq!(found.payload.get(), first.get());
    }
}

async fn a_running_job_is_not_changed(given: Given) {
    let board = Board::new(given);
    let two = raw("2");
    let with = |unique, id| NewJob {
        unique_key: Some("key"),
        unique,
        payload: &two,
        delay_ms: 500,
        ..board.job(id)
    };
    let first = NewJob {
        unique_key: Some("key"),
        ..board.job("a")
    };
    board.create(&[first]).await;
    let lease = board.take("a").await;
    let before = board.find("a").await;
    for unique in [
        Unique::Replace,
        Unique::Debounce { max_wait_ms: 1_000 },
        Unique::Keep,
    ] {
        assert_eq!(
            board.add(&[with(unique, "b")]).await,
            existing("a", false),
            "{unique:?}"
        );
        let after = board.find("a").await;
        assert_eq!(
            (after.due_at_ms, after.payload.get()),
            (before.due_at_ms, before.payload.get())
        );
    }
    assert!(board.end(&lease, retry(50)).await);
    let changed = board.add(&[with(Unique::Replace, "c")]).await;
    assert_eq!(changed, existing("a", true), "pending again");
    assert_eq!(board.find("a").await.due_at_ms, board.now_ms() + 500);
}

async fn a_call_is_all_or_nothing(given: Given) {
    let board = Board::new(given);
    let bad = NewJob {
        name: " ",
        ..board.job("b")
    };
    let refused = board.queue().add(&[board.job("a"), bad]).await;
    assert_eq!(refused.expect_err("is refused").code(), "job.invalid");
    assert!(board.queue().find("a").await.expect("looks").is_none());
    let ids: Vec<_> = (0..=N_TOGETHER).map(|at| format!("{at:05}")).collect();
    let jobs: Vec<_> = ids.iter().map(|id| board.job(id)).collect();
    let refused = board.queue().add(&jobs).await;
    assert_eq!(refused.expect_err("are too many").code(), "job.invalid");
    board.create(&jobs[..N_TOGETHER]).await;
    assert_eq!(
        board.ids(&Board::wish(N_TOGETHER + 5)).await,
        ids[..N_TOGETHER]
    );
}

async fn what_no_engine_may_see_is_refused(given: Given) {
    let board = Board::new(given);
    let (long, fits) = ("x".repeat(NAME_CHARS + 1), "é".repeat(NAME_CHARS));
    let large = raw(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 1)));
    let most = raw(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2)));
    let nul = raw("\"\\u0000\"");
    let job = board.job("a");
    for (field, job) in [
        ("id", NewJob { id: "", ..job }),
        ("id", NewJob { id: &long, ..job }),
        ("queue", NewJob { queue: "\t", ..job }),
        ("name", NewJob { name: "a\0", ..job }),
        (
            "lane",
            NewJob {
                lane: Some(""),
                ..job
            },
        ),
        (
            "unique_key",
            NewJob {
                unique_key: Some(&long),
                ..job
            },
        ),
        (
            "payload",
            NewJob {
                payload: &large,
                ..job
            },
        ),
        (
            "payload",
            NewJob {
                payload: &nul,
                ..job
            },
        ),
        (
            "max_attempts",
            NewJob {
                max_attempts: 0,
                ..job
            },
        ),
    ] {
        let refused = board.queue().add(&[job]).await.expect_err("is refused");
        assert_eq!(refused.code(), "job.invalid", "{field}");
        assert!(refused.to_string().contains(field), "{refused}");
        assert!(
            refused.to_string().contains(board.plugin.as_str()),
            "{refused}"
        );
    }
    let job = NewJob {
        id: &fits,
        queue: &fits,
        name: &fits,
        lane: Some(&fits),
        unique_key: Some(&fits),
        payload: &most,
        delay_ms: u64::MAX,
        due_at_ms: Some(u64::MAX),
        max_age_ms: Some(u64::MAX),
        max_attempts: u32::MAX,
        ..job
    };
    board.create(&[job]).await;
    assert_eq!(board.find(&fits).await.max_attempts, u32::MAX);
}
