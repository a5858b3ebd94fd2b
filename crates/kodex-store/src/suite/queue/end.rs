//! What holders say about their jobs: renewals, ends, effects, lines.

use super::board::{Board, DONE, LEASE_MS, WHY, retry};
use crate::{
    queue::{
        ATTEMPTS_EXHAUSTED, CANCELLED, Cancelled, Effect, End, Ending, JobLease, JobState,
        LINE_BYTES, LOG_BYTES, LogLine, LogStream, LoggedLine, PAYLOAD_BYTES, REASON_CHARS, Reason,
        Renewed,
    },
    suite::{
        Case, cases,
        given::{Given, raw, soon},
    },
};

pub(crate) const CASES: &[Case] = cases![
    every_end_says_what_it_is,
    retries_are_counted_until_the_last,
    pauses_and_releases_do_not_count,
    a_checkpoint_stays_until_another_comes,
    a_checkpoint_is_kept_while_the_job_goes_on,
    a_sign_of_life_changes_nothing,
    ends_of_one_call_are_answered_one_by_one,
    reasons_are_cut,
    what_is_too_large_ends_nothing,
    renewals_move_the_end,
    who_asks_for_the_end_is_heard,
    who_lost_the_lease_changes_nothing,
    an_effect_happens_once,
    lines_are_numbered_and_read_in_pages,
    a_log_keeps_its_beginning_and_its_end,
];

async fn every_end_says_what_it_is(given: Given) {
    let board = Board::new(given);
    let result = raw("{\"r\": [1]}");
    let why = Some("why");
    for (id, how, state, code) in [
        (
            "a",
            Ending::Complete {
                result: Some(&result),
            },
            JobState::Completed,
            None,
        ),
        ("b", DONE, JobState::Completed, None),
        ("c", Ending::Fail(WHY), JobState::Failed, why),
        ("d", Ending::Bury(WHY), JobState::Dead, why),
        ("e", Ending::Block(WHY), JobState::Blocked, why),
        ("f", Ending::Cancelled(WHY), JobState::Cancelled, why),
    ] {
        board.create_all(&[id]).await;
        let lease = board.take(id).await;
        board.clock.advance_ms(7);
        assert!(board.end(&lease, how).await, "{id}");
        let job = board.find(id).await;
        assert_eq!(
            (job.state, job.reason_code.as_deref()),
            (state, code),
            "{id}"
        );
        assert_eq!(job.reason.as_deref(), code.map(|_| "because"), "{id}");
        assert_eq!(job.ended_at_ms, Some(board.now_ms()), "{id}");
        assert_eq!(job.started_at_ms, Some(board.now_ms() - 7), "{id}");
        let held = (job.holder, job.until_ms, job.cancel);
        assert_eq!(held, (None, None, false), "{id}");
        assert_eq!((job.attempt, job.token), (1, 1), "{id}");
        let said = job.result.map(|json| json.get().to_owned());
        assert_eq!(said.as_deref(), (id == "a").then_some("{\"r\": [1]}"));
        assert!(!board.end(&lease, DONE).await, "{id} is over");
        assert!(board.claim(5).await.is_empty(), "{id}");
    }
}

async fn retries_are_counted_until_the_last(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    for attempt in 1..=3 {
        let lease = board.take("a").await;
        assert_eq!(board.find("a").await.attempt, attempt);
        assert!(board.end(&lease, retry(100)).await);
        let (state, code, text) = board.outcome("a").await;
        assert_eq!(text.as_deref(), Some("because"));
        if attempt == 3 {
            assert_eq!(state, JobState::Dead);
            assert_eq!(code.as_deref(), Some(ATTEMPTS_EXHAUSTED));
            assert_eq!(board.find("a").await.ended_at_ms, Some(board.now_ms()));
            continue;
        }
        assert_eq!((state, code.as_deref()), (JobState::Pending, Some("why")));
        let job = board.find("a").await;
        assert_eq!(job.due_at_ms, board.now_ms() + 100);
        assert_eq!(
            (job.ended_at_ms, job.holder, job.until_ms),
            (None, None, None)
        );
        board.clock.advance_ms(99);
        assert!(board.claim(1).await.is_empty());
        board.clock.advance_ms(1);
    }
    board.create_all(&["b"]).await;
    board.through("b", retry(0)).await;
    board.through("b", DONE).await;
    let (state, code, text) = board.outcome("b").await;
    assert_eq!((state, code, text), (JobState::Completed, None, None));
}

async fn pauses_and_releases_do_not_count(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    board.through("a", retry(0)).await;
    let go_on = Ending::GoOn {
        checkpoint: None,
        after_ms: 20,
    };
    for at in 1..=5 {
        let lease = board.take("a").await;
        assert_eq!(board.find("a").await.attempt, 2);
        assert!(board.end(&lease, go_on).await);
        let job = board.find("a").await;
        assert_eq!((job.attempt, job.n_slices, job.n_crashes), (1, at, 0));
        assert_eq!(
            (job.state, job.due_at_ms),
            (JobState::Pending, board.now_ms() + 20)
        );
        assert_eq!(
            job.reason_code.as_deref(),
            Some("why"),
            "of the failed attempt"
        );
        board.clock.advance_ms(20);
    }
    for _ in 0..5 {
        board.through("a", Ending::Release { after_ms: 30 }).await;
        let job = board.find("a").await;
        assert_eq!(
            (job.attempt, job.n_slices, job.due_at_ms),
            (1, 5, board.now_ms() + 30)
        );
        board.clock.advance_ms(30);
    }
    let token = board.find("a").await.token;
    assert_eq!(token, 11, "tokens go on");
    board.through("a", retry(0)).await;
    board.through("a", retry(0)).await;
    assert_eq!(board.state("a").await, JobState::Dead);
}

async fn a_checkpoint_stays_until_another_comes(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let (one, two) = (raw("{\"at\": 1}"), raw("2"));
    for (checkpoint, want) in [
        (None, None),
        (Some(&one), Some("{\"at\": 1}")),
        (None, Some("{\"at\": 1}")),
        (Some(&two), Some("2")),
    ] {
        let checkpoint = checkpoint.map(|json| &**json);
        let after_ms = 0;
        board
            .through(
                "a",
                Ending::GoOn {
                    checkpoint,
                    after_ms,
                },
            )
            .await;
        let job = board.find("a").await;
        assert_eq!(job.checkpoint.as_ref().map(|json| json.get()), want);
    }
    board.through("a", retry(0)).await;
    let claimed = board.claim(1).await.pop().expect("is due");
    let job = claimed.job;
    assert_eq!(job.checkpoint.as_ref().map(|json| json.get()), Some("2"));
}

async fn a_checkpoint_is_kept_while_the_job_goes_on(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let lease = board.take("a").await;
    let queue = board.queue();
    for text in ["{\"at\": 1}", "\"speaks of \\\\u0000\""] {
        let kept = queue.keep(&lease, &raw(text)).await;
        assert_eq!(kept, Ok(true), "{text}");
        let job = board.find("a").await;
        let checkpoint = job.checkpoint.map(|json| json.get().to_owned());
        assert_eq!(checkpoint.as_deref(), Some(text));
        assert_eq!(
            (job.state, job.attempt, job.n_slices),
            (JobState::Running, 1, 0)
        );
    }
    for text in [
        "\"\\u0000\"".to_owned(),
        format!("\"{}\"", "x".repeat(PAYLOAD_BYTES)),
    ] {
        let refused = queue.keep(&lease, &raw(&text)).await.expect_err("refused");
        assert_eq!(refused.code(), "job.invalid", "{text:.20}");
    }
    let stranger = JobLease {
        token: lease.token + 1,
        ..lease.clone()
    };
    assert_eq!(queue.keep(&stranger, &raw("1")).await, Ok(false));
    board.clock.advance_ms(LEASE_MS);
    assert_eq!(queue.keep(&lease, &raw("1")).await, Ok(false), "it is lost");
    let job = board.find("a").await;
    assert!(
        job.checkpoint
            .is_some_and(|json| json.get().contains("speaks"))
    );
}

async fn a_sign_of_life_changes_nothing(given: Given) {
    let store = given.store.clone();
    let board = Board::new(given);
    assert_eq!(store.ping().await, Ok(()), "nobody has made it yet");
    board.create_all(&["a"]).await;
    for _ in 0..3 {
        assert_eq!(store.ping().await, Ok(()));
        board.clock.advance_ms(1);
    }
    assert_eq!(store.check().await, Ok(Vec::new()));
    assert_eq!(board.find("a").await.state, JobState::Pending);
}

async fn ends_of_one_call_are_answered_one_by_one(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b", "c"]).await;
    let claimed = board.claim(3).await;
    assert!(board.end(&claimed[1].lease, DONE).await);
    let unknown = JobLease {
        id: "none".to_owned(),
        token: 1,
    };
    let future = JobLease {
        token: 2,
        ..claimed[2].lease.clone()
    };
    let ended = board
        .end_all(&[
            End {
                lease: &claimed[1].lease,
                how: Ending::Fail(WHY),
            },
            End {
                lease: &claimed[0].lease,
                how: Ending::Fail(WHY),
            },
            End {
                lease: &unknown,
                how: DONE,
            },
            End {
                lease: &future,
                how: DONE,
            },
            End {
                lease: &claimed[0].lease,
                how: DONE,
            },
            End {
                lease: &claimed[2].lease,
                how: DONE,
            },
        ])
        .await;
    assert_eq!(ended, [false, true, false, false, false, true]);
    assert_eq!(board.state("a").await, JobState::Failed);
    assert_eq!(board.state("b").await, JobState::Completed);
    assert_eq!(board.state("c").await, JobState::Completed);
    assert!(board.end_all(&[]).await.is_empty());
}

async fn reasons_are_cut(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let text = format!("{}\0{}", "é".repeat(10), "é".repeat(REASON_CHARS));
    let reason = Reason {
        code: "long",
        text: &text,
    };
    board.through("a", Ending::Fail(reason)).await;
    let kept = board.find("a").await.reason.expect("is kept");
    assert_eq!(kept.chars().count(), REASON_CHARS);
    assert!(kept.starts_with("éé") && !kept.contains('\0'), "{kept}");
}

async fn what_is_too_large_ends_nothing(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b"]).await;
    let claimed = board.claim(2).await;
    let large = raw(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 1)));
    let most = raw(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2)));
    let complete = |json| Ending::Complete { result: Some(json) };
    let go_on = |json| Ending::GoOn {
        checkpoint: Some(json),
        after_ms: 0,
    };
    for how in [complete(&large), go_on(&large)] {
        let ends = [
            End {
                lease: &claimed[0].lease,
                how: DONE,
            },
            End {
                lease: &claimed[1].lease,
                how,
            },
        ];
        let refused = board.queue().end(&ends).await.expect_err("is too large");
        assert_eq!(refused.code(), "job.invalid");
        assert_eq!(board.state("a").await, JobState::Running, "all or nothing");
        assert_eq!(board.state("b").await, JobState::Running);
    }
    assert!(board.end(&claimed[0].lease, go_on(&most)).await);
    assert!(board.end(&claimed[1].lease, complete(&most)).await);
    let kept = board.find("b").await.result.expect("is kept");
    assert_eq!(kept.get(), most.get());
}

async fn renewals_move_the_end(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let lease = board.take("a").await;
    for _ in 0..3 {
        board.clock.advance_ms(LEASE_MS - 1);
        let held = Renewed::Held {
            until_ms: board.now_ms() + LEASE_MS,
            cancel: false,
        };
        assert_eq!(board.renew(&lease).await, held);
        assert_eq!(
            board.find("a").await.until_ms,
            Some(board.now_ms() + LEASE_MS)
        );
        assert!(board.recover().await.is_empty());
    }
    let other = JobLease {
        id: "none".to_owned(),
        token: 1,
    };
    let leases = [other, lease.clone()];
    let renewed = soon(board.queue().renew(&leases, LEASE_MS)).await;
    let renewed = renewed.expect("are looked at");
    assert_eq!(renewed[0], Renewed::Lost);
    assert!(matches!(renewed[1], Renewed::Held { .. }));
    board.clock.advance_ms(LEASE_MS);
    assert_eq!(board.renew(&lease).await, Renewed::Lost, "too late");
    assert_eq!(board.find("a").await.attempt, 1);
}

async fn who_asks_for_the_end_is_heard(given: Given) {
    let board = Board::new(given);
    let go_on = Ending::GoOn {
        checkpoint: None,
        after_ms: 0,
    };
    let release = Ending::Release { after_ms: 0 };
    for (id, how, state, code) in [
        ("a", DONE, JobState::Completed, None),
        ("b", Ending::Fail(WHY), JobState::Failed, Some("why")),
        ("c", Ending::Bury(WHY), JobState::Dead, Some("why")),
        (
            "d",
            Ending::Cancelled(WHY),
            JobState::Cancelled,
            Some("why"),
        ),
        (
            "e",
            Ending::Block(WHY),
            JobState::Cancelled,
            Some(CANCELLED),
        ),
        ("f", retry(0), JobState::Cancelled, Some(CANCELLED)),
        ("g", go_on, JobState::Cancelled, Some(CANCELLED)),
        ("h", release, JobState::Cancelled, Some(CANCELLED)),
    ] {
        board.create_all(&[id]).await;
        let lease = board.take(id).await;
        for _ in 0..2 {
            assert_eq!(board.queue().cancel(id).await, Ok(Cancelled::Asked));
        }
        assert!(board.find(id).await.cancel, "{id}");
        assert!(matches!(
            board.renew(&lease).await,
            Renewed::Held { cancel: true, .. }
        ));
        assert!(board.end(&lease, how).await, "{id}");
        let (found, reason, _) = board.outcome(id).await;
        assert_eq!((found, reason.as_deref()), (state, code), "{id}");
        assert!(!board.find(id).await.cancel, "{id}");
        assert!(board.find(id).await.ended_at_ms.is_some(), "{id}");
    }
}

async fn who_lost_the_lease_changes_nothing(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let old = board.take("a").await;
    let value = raw("1");
    let line = LogLine {
        stream: LogStream::Out,
        text: "late".to_owned(),
    };
    board.clock.advance_ms(LEASE_MS);
    let mut new = None;
    for stage in [
        "its time is over",
        "it was taken back",
        "another holds it",
        "it is over",
    ] {
        match stage {
            "it was taken back" => assert_eq!(board.recover().await.len(), 1),
            "another holds it" => {
                board.clock.advance_ms(1_000);
                new = Some(board.take("a").await);
            }
            "it is over" => {
                let lease = new.take().expect("was taken");
                assert!(board.end(&lease, DONE).await);
            }
            _ => {}
        }
        let before = format!("{:?}", board.find("a").await);
        for how in [
            DONE,
            Ending::Fail(WHY),
            retry(0),
            Ending::Release { after_ms: 0 },
        ] {
            assert!(!board.end(&old, how).await, "{stage}");
        }
        assert_eq!(board.renew(&old).await, Renewed::Lost, "{stage}");
        let effect = board.queue().effect(&old, "late", &value).await;
        assert!(matches!(effect, Ok(Effect::Lost)), "{stage}: {effect:?}");
        let logged = board.queue().log(&old, std::slice::from_ref(&line)).await;
        assert_eq!(logged, Ok(()), "{stage}");
        assert_eq!(format!("{:?}", board.find("a").await), before, "{stage}");
        assert_eq!(
            board.queue().logs("a", 0, 10).await,
            Ok(Vec::new()),
            "{stage}"
        );
    }
    board.queue().revive("a").await.expect("goes on");
    let lease = board.take("a").await;
    assert!(lease.token > old.token);
    let effect = board.queue().effect(&lease, "late", &value).await;
    assert!(
        matches!(effect, Ok(Effect::First)),
        "it never happened: {effect:?}"
    );
}

async fn an_effect_happens_once(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a", "b"]).await;
    let claimed = board.claim(2).await;
    let (one, two) = (raw("{\"n\": 1}"), raw("2"));
    let again = async |lease: &JobLease, key: &'static str| match board
        .queue()
        .effect(lease, key, &two)
        .await
    {
        Ok(Effect::First) => "first".to_owned(),
        Ok(Effect::Again(value)) => value.get().to_owned(),
        Ok(Effect::Lost) => "lost".to_owned(),
        Err(error) => error.code().to_owned(),
    };
    let mut lease = claimed[0].lease.clone();
    let first = board.queue().effect(&lease, "key", &one).await;
    assert!(matches!(first, Ok(Effect::First)), "{first:?}");
    assert_eq!(again(&lease, "key").await, "{\"n\": 1}");
    assert_eq!(again(&lease, "other").await, "first");
    assert_eq!(
        again(&claimed[1].lease, "key").await,
        "first",
        "of another job"
    );
    assert_eq!(again(&lease, " ").await, "job.invalid");
    let large = raw(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES)));
    let refused = board.queue().effect(&lease, "large", &large).await;
    assert_eq!(refused.expect_err("is too large").code(), "job.invalid");
    assert_eq!(again(&lease, "large").await, "first", "nothing was kept");
    board.end(&lease, retry(0)).await;
    lease = board.take("a").await;
    assert_eq!(again(&lease, "key").await, "{\"n\": 1}", "a later attempt");
    board.end(&lease, Ending::Fail(WHY)).await;
    assert_eq!(board.queue().revive("a").await, Ok(Some(true)));
    lease = board.take("a").await;
    assert_eq!(
        again(&lease, "key").await,
        "{\"n\": 1}",
        "a later generation"
    );
}

fn lines(texts: &[&str]) -> Vec<LogLine> {
    let line = |text: &&str| LogLine {
        stream: LogStream::Out,
        text: (*text).to_owned(),
    };
    texts.iter().map(line).collect()
}

async fn lines_are_numbered_and_read_in_pages(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let mut lease = board.take("a").await;
    let queue = board.queue();
    queue.log(&lease, &[]).await.expect("nothing to say");
    let mut want = Vec::new();
    for (at, stream) in [LogStream::Out, LogStream::Err, LogStream::Kodex]
        .into_iter()
        .enumerate()
    {
        let text = format!("line {at} é");
        let line = LogLine {
            stream,
            text: text.clone(),
        };
        queue.log(&lease, &[line]).await.expect("is kept");
        want.push(LoggedLine {
            number: want.len() as u64 + 1,
            at_ms: board.now_ms(),
            stream,
            text,
        });
        board.clock.advance_ms(1);
    }
    assert_eq!(queue.logs("a", 0, 10).await, Ok(want.clone()));
    assert_eq!(queue.logs("a", 1, 1).await, Ok(want[1..2].to_vec()));
    assert_eq!(queue.logs("a", 3, 10).await, Ok(Vec::new()));
    board.end(&lease, retry(0)).await;
    lease = board.take("a").await;
    let odd = format!("{}é", "x".repeat(LINE_BYTES - 1));
    queue
        .log(&lease, &lines(&["", "a\0b", &odd]))
        .await
        .expect("are kept");
    let kept = queue.logs("a", 3, 10).await.expect("are there");
    let numbers: Vec<_> = kept.iter().map(|line| line.number).collect();
    assert_eq!(numbers, [4, 5, 6], "a later attempt goes on");
    assert_eq!(kept[0].text, "");
    assert!(kept[1].text.starts_with('a') && !kept[1].text.contains('\0'));
    assert_eq!(kept[2].text, "x".repeat(LINE_BYTES - 1));
}

async fn a_log_keeps_its_beginning_and_its_end(given: Given) {
    let board = Board::new(given);
    board.create_all(&["a"]).await;
    let lease = board.take("a").await;
    let text = "x".repeat(4_000);
    let n_half = LOG_BYTES / 2 / text.len();
    let n_all = 1_000;
    for _ in 0..n_all / 50 {
        let lines = lines(&[text.as_str(); 50]);
        board.queue().log(&lease, &lines).await.expect("are kept");
    }
    let kept = board.queue().logs("a", 0, 10_000).await.expect("are there");
    let numbers: Vec<_> = kept.iter().map(|line| line.number as usize).collect();
    let want: Vec<_> = (1..=n_half).chain(n_all - n_half + 1..=n_all).collect();
    assert_eq!(numbers, want);
    let long = "y".repeat(LINE_BYTES);
    let long = [long.as_str(); 1_000];
    board
        .queue()
        .log(&lease, &lines(&long))
        .await
        .expect("are kept");
    let kept = board.queue().logs("a", 0, 10_000).await.expect("are there");
    let n_bytes: usize = kept.iter().map(|line| line.text.len()).sum();
    assert!(n_bytes <= LOG_BYTES, "{n_bytes}");
    assert_eq!(kept.len(), n_half + LOG_BYTES / 2 / LINE_BYTES);
    assert_eq!(kept.last().map(|line| line.number), Some(2_000));
    assert_eq!(kept[n_half - 1].number as usize, n_half);
}
