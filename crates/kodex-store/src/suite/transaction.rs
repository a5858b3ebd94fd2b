//! Transactions that span calls.

use std::time::Duration;

use kodex_plugin::Clock;

use super::{
    Case, cases,
    given::{Given, n_rows, run, soon, texts},
};
use crate::{Access, Bounds, Namespace, Rows, Statement, StoreError, Transaction};

pub(super) const CASES: &[Case] = cases![
    a_commit_keeps_and_a_rollback_undoes,
    a_dropped_transaction_is_rolled_back,
    others_see_nothing_before_the_commit,
    savepoints_nest,
    a_failed_transaction_can_only_be_undone,
    calls_that_do_not_pair_are_refused,
    its_end_comes_by_time,
    bounds_hold_inside,
    a_reading_transaction_sees_one_moment,
    the_schema_changes_in_one_too,
];

const TABLE: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY)";

async fn begin(space: &dyn Namespace) -> Box<dyn Transaction> {
    soon(space.begin(&Bounds::default())).await.expect("begins")
}

async fn inside(transaction: &mut dyn Transaction, text: &str) -> Result<Rows, StoreError> {
    soon(transaction.run(&Statement::new(text), &Bounds::default())).await
}

async fn insert(transaction: &mut dyn Transaction, id: i64) {
    let text = format!("INSERT INTO t VALUES ({id})");
    inside(transaction, &text).await.expect("inserts");
}

async fn ids(space: &dyn Namespace) -> Vec<String> {
    texts(&run(space, "SELECT id FROM t ORDER BY id").await)
}

async fn a_commit_keeps_and_a_rollback_undoes(given: Given) {
    let space = given.with(&[TABLE]).await;
    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 1).await;
    insert(&mut *transaction, 2).await;
    soon(transaction.commit()).await.expect("commits");
    assert_eq!(ids(&*space).await, ["1", "2"]);
    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 3).await;
    soon(transaction.rollback()).await.expect("rolls back");
    assert_eq!(ids(&*space).await, ["1", "2"]);
}

async fn a_dropped_transaction_is_rolled_back(given: Given) {
    let space = given.with(&[TABLE]).await;
    for _ in 0..3 {
        let mut transaction = begin(&*space).await;
        insert(&mut *transaction, 1).await;
        drop(transaction);
        // The next writer waits for the rollback, not for the end of its time.
        run(&*space, "INSERT INTO t VALUES (2)").await;
        run(&*space, "DELETE FROM t WHERE id = 2").await;
        assert_eq!(ids(&*space).await, [""; 0]);
    }
}

async fn others_see_nothing_before_the_commit(given: Given) {
    let space = given.with(&[TABLE]).await;
    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 1).await;
    assert_eq!(
        ids(&*space).await,
        [""; 0],
        "a reader is not blocked and sees the state before"
    );
    let own = inside(&mut *transaction, "SELECT id FROM t")
        .await
        .expect("reads");
    assert_eq!(texts(&own), ["1"], "the transaction sees its own rows");
    soon(transaction.commit()).await.expect("commits");
    assert_eq!(ids(&*space).await, ["1"]);
}

async fn savepoints_nest(given: Given) {
    let space = given.with(&[TABLE]).await;
    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 1).await;
    soon(transaction.save()).await.expect("saves");
    insert(&mut *transaction, 2).await;
    soon(transaction.save()).await.expect("saves");
    insert(&mut *transaction, 3).await;
    soon(transaction.undo())
        .await
        .expect("undoes the inner level");
    insert(&mut *transaction, 4).await;
    soon(transaction.save()).await.expect("saves");
    insert(&mut *transaction, 5).await;
    soon(transaction.release())
        .await
        .expect("releases the inner level");
    soon(transaction.release())
        .await
        .expect("releases the outer level");
    soon(transaction.save()).await.expect("saves");
    insert(&mut *transaction, 6).await;
    soon(transaction.undo()).await.expect("undoes");
    soon(transaction.commit()).await.expect("commits");
    assert_eq!(ids(&*space).await, ["1", "2", "4", "5"]);
}

async fn a_failed_transaction_can_only_be_undone(given: Given) {
    let space = given.with(&[TABLE]).await;
    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 1).await;
    soon(transaction.save()).await.expect("saves");
    for (text, want) in [
        ("INSERT INTO t VALUES (1)", "db.constraint"),
        ("SELECT id FROM t", "db.transaction"),
    ] {
        let error = inside(&mut *transaction, text).await.expect_err("fails");
        assert_eq!(error.code(), want, "{text}");
    }
    let error = soon(transaction.release())
        .await
        .expect_err("cannot keep a failed level");
    assert_eq!(error.code(), "db.transaction");
    soon(transaction.undo()).await.expect("mends it");
    insert(&mut *transaction, 2).await;
    soon(transaction.commit()).await.expect("commits");
    assert_eq!(ids(&*space).await, ["1", "2"]);

    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 3).await;
    inside(&mut *transaction, "SELECT nothing")
        .await
        .expect_err("fails");
    let error = soon(transaction.commit())
        .await
        .expect_err("nothing may be kept");
    assert_eq!(error.code(), "db.transaction");
    assert_eq!(ids(&*space).await, ["1", "2"]);
    run(&*space, "INSERT INTO t VALUES (3)").await;
}

async fn calls_that_do_not_pair_are_refused(given: Given) {
    let space = given.with(&[TABLE]).await;
    let mut transaction = begin(&*space).await;
    for result in [
        soon(transaction.release()).await,
        soon(transaction.undo()).await,
    ] {
        assert_eq!(
            result.expect_err("no level is open").code(),
            "db.transaction"
        );
    }
    insert(&mut *transaction, 1).await;
    soon(transaction.commit()).await.expect("is still whole");
    assert_eq!(n_rows(&*space, "t").await, 1);
}

async fn its_end_comes_by_time(given: Given) {
    let space = given.with(&[TABLE]).await;
    let until = Some(given.clock.now() + Duration::from_millis(200));
    let bounds = Bounds {
        until,
        ..Bounds::default()
    };
    let mut transaction = soon(space.begin(&bounds)).await.expect("begins");
    insert(&mut *transaction, 1).await;
    // Nothing is asked of it any more; the next writer of the same row gets its turn all the same.
    run(&*space, "INSERT INTO t VALUES (1)").await;
    let late = inside(&mut *transaction, "INSERT INTO t VALUES (3)").await;
    assert_eq!(late.expect_err("is over").code(), "db.timeout");
    let late = soon(transaction.commit()).await;
    assert!(late.is_err());
    assert_eq!(ids(&*space).await, ["1"]);
}

async fn bounds_hold_inside(given: Given) {
    let space = given.with(&[TABLE]).await;
    let mut transaction = begin(&*space).await;
    insert(&mut *transaction, 1).await;
    insert(&mut *transaction, 2).await;
    soon(transaction.save()).await.expect("saves");
    let bounds = Bounds {
        n_rows: 1,
        ..Bounds::default()
    };
    let error = soon(transaction.run(&Statement::new("SELECT id FROM t"), &bounds)).await;
    assert_eq!(error.expect_err("two rows").code(), "db.too_many_rows");
    soon(transaction.undo()).await.expect("mends it");
    soon(transaction.commit()).await.expect("commits");
    assert_eq!(ids(&*space).await, ["1", "2"]);
}

async fn a_reading_transaction_sees_one_moment(given: Given) {
    let space = given.with(&[TABLE]).await;
    run(&*space, "INSERT INTO t VALUES (1)").await;
    let reading = given.space(Access::Read).await;
    let mut transaction = begin(&*reading).await;
    let first = inside(&mut *transaction, "SELECT id FROM t")
        .await
        .expect("reads");
    assert_eq!(texts(&first), ["1"]);
    let write = inside(&mut *transaction, "INSERT INTO t VALUES (9)").await;
    assert!(write.is_err());
    soon(transaction.rollback()).await.expect("ends");
    run(&*space, "INSERT INTO t VALUES (2)").await;
    assert_eq!(ids(&*reading).await, ["1", "2"]);
}

async fn the_schema_changes_in_one_too(given: Given) {
    let migrate = given.space(Access::Migrate).await;
    let mut transaction = begin(&*migrate).await;
    inside(&mut *transaction, TABLE).await.expect("creates");
    insert(&mut *transaction, 1).await;
    soon(transaction.rollback()).await.expect("rolls back");
    assert_eq!(given.store.tables(&given.plugin).await, Ok(Vec::new()));
    let mut transaction = begin(&*migrate).await;
    inside(&mut *transaction, TABLE).await.expect("creates");
    insert(&mut *transaction, 1).await;
    soon(transaction.commit()).await.expect("commits");
    assert_eq!(ids(&*migrate).await, ["1"]);
}
