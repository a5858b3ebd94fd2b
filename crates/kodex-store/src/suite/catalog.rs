//! Plugins, tables, check, close. The last case closes the store of the area.

use super::{
    Case, cases,
    given::{Given, soon, step},
};
use crate::{Access, Bounds, Statement};

pub(super) const CASES: &[Case] = cases![
    plugins_are_those_with_tables_or_state,
    tables_tell_columns_keys_and_references,
    a_sound_store_has_no_findings,
    the_place_holds_no_secret,
    a_closed_store_answers_closed,
];

async fn plugins_are_those_with_tables_or_state(given: Given) {
    let plugins = |given: Given| async move { given.store.plugins().await.expect("lists") };
    let before = plugins(given.clone()).await;
    given.set("key", "1").await;
    given.space_of(&given.other, Access::Migrate).await;
    let after = plugins(given.clone()).await;
    assert_eq!(after.len(), before.len() + 2, "{after:?}");
    assert!(after.contains(&given.plugin) && after.contains(&given.other));
    assert!(after.is_sorted(), "{after:?}");
}

async fn tables_tell_columns_keys_and_references(given: Given) {
    given
        .apply(&[step(
            "0001_a.sql",
            "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL);
             CREATE TABLE tags (tag TEXT, note BIGINT REFERENCES notes (id), n BIGINT, PRIMARY KEY (note, tag));
             CREATE TABLE bare (a TEXT);
             CREATE INDEX by_text ON notes (text);
             CREATE VIEW seen AS SELECT id FROM notes;",
        )])
        .await;
    let tables = soon(given.store.tables(&given.plugin))
        .await
        .expect("tells");
    let told: Vec<_> = tables
        .iter()
        .map(|table| {
            let columns: Vec<_> = table
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            format!(
                "{} ({}) key ({}) to ({})",
                table.name,
                columns.join(" "),
                table.primary_key.join(" "),
                table.references.join(" ")
            )
        })
        .collect();
    let want = [
        "bare (a) key () to ()",
        "notes (id text) key (id) to ()",
        "tags (tag note n) key (note tag) to (notes)",
    ];
    assert_eq!(told, want);
    assert_eq!(tables[1].columns[1].kind, "text");
}

async fn a_sound_store_has_no_findings(given: Given) {
    given
        .apply(&[step("0001_a.sql", "CREATE TABLE a (id BIGINT);")])
        .await;
    given.set("key", "1").await;
    assert_eq!(soon(given.store.check()).await, Ok(Vec::new()));
}

async fn the_place_holds_no_secret(given: Given) {
    let place = given.store.place();
    assert!(place.starts_with(given.store.engine().as_str()), "{place}");
    assert!(!place.contains("password"), "{place}");
}

async fn a_closed_store_answers_closed(given: Given) {
    let space = given.with(&["CREATE TABLE t (id BIGINT)"]).await;
    let mut transaction = soon(space.begin(&Bounds::default())).await.expect("begins");
    soon(given.store.close()).await.expect("closes");
    let statement = Statement::new("SELECT 1");
    let run = soon(space.run(&statement, &Bounds::default())).await;
    assert_eq!(run.expect_err("is closed").code(), "store.closed");
    let inside = soon(transaction.run(&statement, &Bounds::default())).await;
    assert!(inside.is_err(), "it was rolled back");
    let read = soon(given.store.state().read(&given.plugin, "key")).await;
    assert_eq!(read.expect_err("is closed").code(), "store.closed");
    let opened = soon(given.store.namespace(&given.plugin, Access::Read)).await;
    assert!(opened.is_err_and(|error| error.code() == "store.closed"));
    let applied = soon(given.store.ledger().applied(&given.plugin)).await;
    assert_eq!(applied.expect_err("is closed").code(), "store.closed");
    soon(given.store.close())
        .await
        .expect("closing twice is fine");
}
