//! Rows, bytes, text and time of a statement, and the end of one that nobody waits for.

use std::time::Duration;

use kodex_plugin::Clock;

use super::{
    Case, cases,
    given::{Given, n_rows, run, run_with, soon, spawn},
};
use crate::{Access, Bounds, Rows, Statement, StoreError, Value};

pub(super) const CASES: &[Case] = cases![
    too_many_rows,
    too_many_bytes,
    rows_over_a_bound_undo_the_change,
    too_long_a_text,
    a_statement_that_runs_too_long_is_stopped,
    the_end_of_the_call_counts_too,
    a_dropped_statement_stops_in_the_engine,
    a_dropped_write_changes_nothing_and_blocks_nobody,
];

/// Runs until it is stopped, on both engines.
const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 1000000 FROM n) SELECT count(*) FROM n";

async fn bounded(given: &Given, text: &str, bounds: Bounds) -> Result<Rows, StoreError> {
    let space = given.space(Access::Write).await;
    let statement = Statement::new(text);
    soon(space.run(&statement, &bounds)).await
}

async fn filled(given: &Given, n: i64) {
    let space = given
        .with(&["CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)"])
        .await;
    for id in 0..n {
        run_with(
            &*space,
            "INSERT INTO t VALUES (?, 'abcdefgh')",
            [Value::Integer(id)],
        )
        .await;
    }
}

async fn too_many_rows(given: Given) {
    filled(&given, 5).await;
    let bounds = |n_rows| Bounds {
        n_rows,
        ..Bounds::default()
    };
    let fits = bounded(&given, "SELECT id FROM t", bounds(5)).await;
    assert_eq!(fits.expect("five fit").rows.len(), 5);
    let error = bounded(&given, "SELECT id FROM t", bounds(4))
        .await
        .expect_err("five do not");
    assert_eq!(error.code(), "db.too_many_rows");
    assert!(error.to_string().contains("4 rows"), "{error}");
}

async fn too_many_bytes(given: Given) {
    filled(&given, 5).await;
    let bounds = |bytes| Bounds {
        bytes,
        ..Bounds::default()
    };
    let fits = bounded(&given, "SELECT v FROM t", bounds(40)).await;
    assert_eq!(fits.expect("forty fit").rows.len(), 5);
    let error = bounded(&given, "SELECT v FROM t", bounds(39))
        .await
        .expect_err("does not fit");
    assert_eq!(error.code(), "db.too_many_bytes");
    let error = bounded(&given, "SELECT v FROM t LIMIT 1", bounds(7))
        .await
        .expect_err("one is too large");
    assert_eq!(error.code(), "db.too_many_bytes");
}

async fn rows_over_a_bound_undo_the_change(given: Given) {
    filled(&given, 5).await;
    let bounds = Bounds {
        n_rows: 4,
        ..Bounds::default()
    };
    let error = bounded(&given, "DELETE FROM t RETURNING id", bounds)
        .await
        .expect_err("too many");
    assert_eq!(error.code(), "db.too_many_rows");
    assert_eq!(n_rows(&*given.space(Access::Read).await, "t").await, 5);
}

async fn too_long_a_text(given: Given) {
    let bounds = Bounds {
        text_bytes: 20,
        ..Bounds::default()
    };
    assert!(
        bounded(&given, "SELECT 1 -- 34567890", bounds)
            .await
            .is_ok()
    );
    let error = bounded(&given, "SELECT 1 -- 345678901", bounds)
        .await
        .expect_err("too long");
    assert_eq!(error.code(), "db.statement");
}

async fn a_statement_that_runs_too_long_is_stopped(given: Given) {
    filled(&given, 1).await;
    let bounds = Bounds {
        timeout: Duration::from_millis(150),
        ..Bounds::default()
    };
    for access in [Access::Read, Access::Write] {
        let space = given.space(access).await;
        let begun_at = given.clock.now();
        let statement = Statement::new(ENDLESS);
        let error = soon(space.run(&statement, &bounds))
            .await
            .expect_err("is stopped");
        let took = given.clock.now() - begun_at;
        assert!(
            matches!(
                error,
                StoreError::Timeout {
                    after_ms: 100..,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(n_rows(&*space, "t").await, 1, "the handle works on");
    }
    let space = given.space(Access::Write).await;
    let write = format!("INSERT INTO t SELECT 100, 'x' FROM ({ENDLESS}) AS s");
    let statement = Statement::new(&write);
    let error = soon(space.run(&statement, &bounds))
        .await
        .expect_err("is stopped");
    assert_eq!(error.code(), "db.timeout", "{write}: {error}");
    assert_eq!(n_rows(&*space, "t").await, 1);
}

async fn the_end_of_the_call_counts_too(given: Given) {
    filled(&given, 1).await;
    let until = Some(given.clock.now() + Duration::from_millis(150));
    let error = bounded(
        &given,
        ENDLESS,
        Bounds {
            until,
            ..Bounds::default()
        },
    )
    .await;
    assert_eq!(error.expect_err("is stopped").code(), "db.timeout");
}

async fn a_dropped_statement_stops_in_the_engine(given: Given) {
    filled(&given, 1).await;
    // More than any engine keeps connections: if one went on, the last would wait in vain.
    for _ in 0..12 {
        let space = given.space(Access::Read).await;
        let task = spawn(async move {
            let bounds = Bounds {
                timeout: Duration::from_secs(600),
                ..Bounds::default()
            };
            space.run(&Statement::new(ENDLESS), &bounds).await
        });
        // It has begun when something after it in the same store is answered, or it never will.
        let space = given.space(Access::Read).await;
        assert_eq!(n_rows(&*space, "t").await, 1);
        task.abort();
    }
    let space = given.space(Access::Read).await;
    assert_eq!(n_rows(&*space, "t").await, 1);
}

async fn a_dropped_write_changes_nothing_and_blocks_nobody(given: Given) {
    filled(&given, 1).await;
    let space = given.space(Access::Write).await;
    let statement = Statement::new(format!(
        "UPDATE t SET v = (SELECT 'n' FROM ({ENDLESS}) AS s)"
    ));
    let bounds = Bounds {
        timeout: Duration::from_secs(600),
        ..Bounds::default()
    };
    let begun = tokio::time::timeout(Duration::from_millis(200), space.run(&statement, &bounds));
    assert!(begun.await.is_err(), "it runs until it is dropped");
    let write = run(&*space, "UPDATE t SET v = 'later'").await;
    assert_eq!(write.n_changed, 1);
}
