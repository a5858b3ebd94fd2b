//! Large results in pages.

use std::time::Duration;

use super::{
    Case, cases,
    given::{Given, run, soon, texts},
};
use crate::{Bounds, Cursor, Namespace, Statement, Value};

pub(super) const CASES: &[Case] = cases![
    pages_come_in_order_until_the_end,
    bytes_end_a_page_early,
    it_sees_one_moment_and_blocks_no_writer,
    many_cursors_block_no_reader,
    mistakes_come_when_it_is_opened_or_read,
    the_timeout_holds_per_page,
];

const NUMBERS: &str = "INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i, 'abcdefgh' FROM n";

async fn numbers(given: &Given) -> std::sync::Arc<dyn Namespace> {
    let space = given
        .with(&["CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)"])
        .await;
    run(&*space, NUMBERS).await;
    space
}

async fn open(space: &dyn Namespace, text: &str) -> Box<dyn Cursor> {
    let cursor = soon(space.open(&Statement::new(text), &Bounds::default())).await;
    cursor.expect("opens")
}

async fn page(cursor: &mut dyn Cursor, n_rows: usize) -> Vec<String> {
    let rows = soon(cursor.next(n_rows, &Bounds::default()))
        .await
        .expect("reads");
    texts(&rows)
}

async fn pages_come_in_order_until_the_end(given: Given) {
    let space = numbers(&given).await;
    let statement = Statement::with(
        "SELECT id FROM t WHERE id <= ? ORDER BY id",
        [Value::Integer(250)],
    );
    let mut cursor = soon(space.open(&statement, &Bounds::default()))
        .await
        .expect("opens");
    let mut all = Vec::new();
    for want in [100, 100, 50, 0, 0] {
        let rows = page(&mut *cursor, 100).await;
        assert_eq!(rows.len(), want);
        all.extend(rows);
    }
    let want: Vec<_> = (1..=250).map(|id: i32| id.to_string()).collect();
    assert_eq!(all, want);
}

async fn bytes_end_a_page_early(given: Given) {
    let space = numbers(&given).await;
    let mut cursor = open(&*space, "SELECT v FROM t").await;
    let bounds = Bounds {
        bytes: 20,
        ..Bounds::default()
    };
    let mut n_all = 0;
    for _ in 0..3 {
        let rows = soon(cursor.next(100, &bounds)).await.expect("reads");
        assert_eq!(rows.rows.len(), 2, "two rows of eight bytes");
        n_all += rows.rows.len();
    }
    loop {
        let rows = page(&mut *cursor, 400).await;
        n_all += rows.len();
        if rows.is_empty() {
            break;
        }
    }
    assert_eq!(n_all, 1_000, "no row is lost at the end of a page");
    let mut cursor = open(&*space, "SELECT v FROM t").await;
    let bounds = Bounds {
        bytes: 7,
        ..Bounds::default()
    };
    let error = soon(cursor.next(100, &bounds))
        .await
        .expect_err("not one fits");
    assert_eq!(error.code(), "db.too_many_bytes");
}

async fn it_sees_one_moment_and_blocks_no_writer(given: Given) {
    let space = numbers(&given).await;
    let mut cursor = open(&*space, "SELECT id FROM t ORDER BY id").await;
    assert_eq!(page(&mut *cursor, 1).await, ["1"]);
    let gone = run(&*space, "DELETE FROM t WHERE id > 1").await;
    assert_eq!(gone.n_changed, 999);
    assert_eq!(page(&mut *cursor, 2).await, ["2", "3"]);
    drop(cursor);
    let mut cursor = open(&*space, "SELECT id FROM t ORDER BY id").await;
    assert_eq!(page(&mut *cursor, 9).await, ["1"]);
}

async fn many_cursors_block_no_reader(given: Given) {
    let space = numbers(&given).await;
    for _ in 0..3 {
        let mut cursors = Vec::new();
        for _ in 0..4 {
            let mut cursor = open(&*space, "SELECT id FROM t ORDER BY id").await;
            assert_eq!(page(&mut *cursor, 1).await, ["1"]);
            cursors.push(cursor);
        }
        assert_eq!(
            texts(&run(&*space, "SELECT count(*) FROM t").await),
            ["1000"]
        );
    }
}

async fn mistakes_come_when_it_is_opened_or_read(given: Given) {
    let space = numbers(&given).await;
    for (text, want) in [
        ("SELECT nothing FROM t", "db.sql"),
        ("SELECT 1; SELECT 2", "db.statement"),
    ] {
        let statement = Statement::new(text);
        let error = match soon(space.open(&statement, &Bounds::default())).await {
            Err(error) => error,
            Ok(mut cursor) => soon(cursor.next(1, &Bounds::default()))
                .await
                .expect_err("fails"),
        };
        assert_eq!(error.code(), want, "{text}");
    }
    let statement = Statement::new("DELETE FROM t RETURNING id");
    let refused = match soon(space.open(&statement, &Bounds::default())).await {
        Err(_) => true,
        Ok(mut cursor) => soon(cursor.next(10, &Bounds::default())).await.is_err(),
    };
    assert!(refused, "a cursor only reads");
    assert_eq!(
        texts(&run(&*space, "SELECT count(*) FROM t").await),
        ["1000"]
    );
}

async fn the_timeout_holds_per_page(given: Given) {
    let space = numbers(&given).await;
    let slow = "SELECT (SELECT count(*) FROM t AS a, t AS b, t AS c WHERE a.id + b.id + c.id > t.id) FROM t";
    let bounds = Bounds {
        timeout: Duration::from_millis(200),
        ..Bounds::default()
    };
    let statement = Statement::new(slow);
    let mut cursor = soon(space.open(&statement, &bounds)).await.expect("opens");
    let error = soon(cursor.next(1_000, &bounds))
        .await
        .expect_err("is stopped");
    assert_eq!(error.code(), "db.timeout");
    drop(cursor);
    assert_eq!(
        texts(&run(&*space, "SELECT count(*) FROM t").await),
        ["1000"]
    );
}
