//! Another name for what a plugin owns.

use super::{
    Case, cases,
    given::{Given, n_rows, run, soon, step},
};
use crate::{Access, journal::Progress, state::OnlyIf};

pub(super) const CASES: &[Case] = cases![
    everything_moves,
    a_name_that_has_something_is_refused,
    nothing_moves_without_complaint,
    a_second_time_finds_it_done,
    versions_and_tokens_go_on,
];

async fn filled(given: &Given) {
    given
        .apply(&[step(
            "0001_a.sql",
            "CREATE TABLE a (id BIGINT); INSERT INTO a VALUES (1);",
        )])
        .await;
    given.set("key", "1").await;
    let progress = Progress {
        id: format!("plugin:{}/0002_b.sql", given.plugin),
        progress: "1".to_owned(),
    };
    let ledger = given.store.ledger();
    soon(ledger.save_progress(&given.plugin, &progress))
        .await
        .expect("saves");
}

async fn everything_moves(given: Given) {
    filled(&given).await;
    let ledger = given.store.ledger();
    let before = soon(ledger.applied(&given.plugin)).await.expect("reads");
    soon(ledger.rename(&given.plugin, &given.other))
        .await
        .expect("renames");
    let after = soon(ledger.applied(&given.other)).await.expect("reads");
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].id, format!("plugin:{}/0001_a.sql", given.other));
    assert_eq!(
        (&after[0].checksum, after[0].applied_at_ms),
        (&before[0].checksum, before[0].applied_at_ms)
    );
    let id = format!("plugin:{}/0002_b.sql", given.other);
    let progress = soon(ledger.progress(&given.other, &id))
        .await
        .expect("reads");
    assert_eq!(
        progress.map(|progress| progress.progress),
        Some("1".to_owned())
    );
    let space = given.space_of(&given.other, Access::Write).await;
    assert_eq!(n_rows(&*space, "a").await, 1);
    run(&*space, "INSERT INTO a VALUES (2)").await;
    assert_eq!(
        given.value_of(&given.other, "key").await.as_deref(),
        Some("1")
    );
    assert_eq!(given.value("key").await, None);
    assert_eq!(soon(ledger.applied(&given.plugin)).await, Ok(Vec::new()));
    let plugins = given.store.plugins().await.expect("lists");
    assert!(
        plugins.contains(&given.other) && !plugins.contains(&given.plugin),
        "{plugins:?}"
    );
    assert_eq!(given.store.tables(&given.plugin).await, Ok(Vec::new()));
    let more = step("0002_b.sql", "ALTER TABLE a ADD COLUMN b TEXT;");
    soon(ledger.apply(&given.other, &more, Some(&after[0].id)))
        .await
        .expect("goes on");
}

async fn a_name_that_has_something_is_refused(given: Given) {
    filled(&given).await;
    let mut other = given.clone();
    other.plugin = given.other.clone();
    other.set("key", "2").await;
    let refused = soon(given.store.ledger().rename(&given.plugin, &given.other)).await;
    assert_eq!(refused.expect_err("has state").code(), "db.refused");
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
    assert_eq!(other.value("key").await.as_deref(), Some("2"));
    other
        .write("key", None, OnlyIf::Always)
        .await
        .expect("deletes");
    let space = given.space_of(&given.other, Access::Migrate).await;
    run(&*space, "CREATE TABLE b (id BIGINT)").await;
    let refused = soon(given.store.ledger().rename(&given.plugin, &given.other)).await;
    assert_eq!(refused.expect_err("has tables").code(), "db.refused");
    assert_eq!(n_rows(&*given.space(Access::Read).await, "a").await, 1);
    assert_eq!(n_rows(&*space, "b").await, 0);
}

async fn nothing_moves_without_complaint(given: Given) {
    let ledger = given.store.ledger();
    soon(ledger.rename(&given.plugin, &given.other))
        .await
        .expect("there is nothing to do");
    assert_eq!(soon(ledger.applied(&given.other)).await, Ok(Vec::new()));
}

async fn a_second_time_finds_it_done(given: Given) {
    filled(&given).await;
    let ledger = given.store.ledger();
    soon(ledger.rename(&given.plugin, &given.other))
        .await
        .expect("renames");
    // Nothing is left under the old name, and the new one has it all.
    let _ = soon(ledger.rename(&given.plugin, &given.other)).await;
    assert_eq!(
        given.value_of(&given.other, "key").await.as_deref(),
        Some("1")
    );
    assert_eq!(
        n_rows(&*given.space_of(&given.other, Access::Read).await, "a").await,
        1
    );
    soon(ledger.rename(&given.other, &given.plugin))
        .await
        .expect("and back");
    assert_eq!(n_rows(&*given.space(Access::Read).await, "a").await, 1);
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
}

async fn versions_and_tokens_go_on(given: Given) {
    for _ in 0..5 {
        given.set("key", "1").await;
    }
    let version = given.set("key", "2").await;
    let state = given.store.state();
    let lease = state
        .lock(&given.plugin, "lock", 60_000)
        .await
        .expect("locks");
    soon(given.store.ledger().rename(&given.plugin, &given.other))
        .await
        .expect("renames");
    let mut other = given.clone();
    other.plugin = given.other.clone();
    assert!(other.set("key", "3").await > version);
    let held = state.lock(&given.other, "lock", 60_000).await;
    assert_eq!(held.expect_err("is held still").code(), "state.locked");
    assert_eq!(state.unlock(&given.other, &lease).await, Ok(true));
    let next = state
        .lock(&given.other, "lock", 60_000)
        .await
        .expect("locks");
    assert!(next.token > lease.token);
}
