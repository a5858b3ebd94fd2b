//! A folder that is moved away under a running program, comes back, or is another one then.

use std::{fs, sync::Arc};

use kodex_store::{
    Access, Store, StoreError,
    sqlite::{SqliteOptions, SqliteStore},
    suite::SuiteClock,
};

use super::{plugin, set};

/// What the store says to a write, a read and a sign of life.
async fn said(store: &SqliteStore, value: &str) -> [Result<String, StoreError>; 3] {
    let notes = plugin("notes");
    let written = set(store, &notes, "key", &format!("{value:?}")).await;
    let read = store.state().read(&notes, "key").await;
    let read = read
        .map(|entry| entry.map_or_else(|| "-".to_owned(), |entry| entry.value.get().to_owned()));
    [
        written.map(|_| value.to_owned()),
        read,
        store.ping().await.map(|()| "there".to_owned()),
    ]
}

#[tokio::test]
async fn a_store_that_is_gone_is_no_empty_one() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let (home, away) = (folder.path().join("store"), folder.path().join("away"));
    let clock = Arc::new(SuiteClock::default());
    let store = SqliteStore::open(SqliteOptions::new(&home, clock.clone())).await;
    let store = store.expect("opens");
    // A namespace of a plugin is a file of its own.
    let space = store.namespace(&plugin("notes"), Access::Migrate).await;
    drop(space.expect("opens"));
    let well = |said: [Result<String, StoreError>; 3]| said.map(|one| one.expect("answers"));
    assert_eq!(well(said(&store, "a").await), ["a", "\"a\"", "there"]);

    for blocks in [false, true] {
        fs::rename(&home, &away).expect("moves");
        if blocks {
            fs::write(&home, "no folder").expect("writes");
        }
        clock.advance_ms(1_000);
        for one in said(&store, "lost").await {
            let error = one.expect_err("nobody is there");
            assert_eq!(error.code(), "store.unreachable", "{error}");
        }
        let added = store.queue().counts().await.expect_err("nobody is there");
        assert_eq!(added.code(), "store.unreachable");
        assert!(!home.is_dir(), "nothing is begun in its place");
        if blocks {
            fs::remove_file(&home).expect("removes");
        }
        fs::rename(&away, &home).expect("moves back");
        clock.advance_ms(1_000);
        assert_eq!(well(said(&store, "b").await), ["b", "\"b\"", "there"]);
    }

    // A backup is put in place: what is written from here on is in it.
    fs::create_dir(&away).expect("makes a folder");
    let other = SqliteStore::open(SqliteOptions::new(&away, clock.clone())).await;
    let other = other.expect("opens");
    assert_eq!(well(said(&other, "old").await)[1], "\"old\"");
    other.close().await.expect("closes");
    let before = folder.path().join("before");
    fs::rename(&home, &before).expect("moves");
    fs::rename(&away, &home).expect("moves");
    clock.advance_ms(1_000);
    assert_eq!(well(said(&store, "new").await), ["new", "\"new\"", "there"]);
    store.close().await.expect("closes");
    for (place, want) in [(&home, "\"new\""), (&before, "\"b\"")] {
        let looked = SqliteStore::open(SqliteOptions::new(place, clock.clone())).await;
        let looked = looked.expect("opens");
        let entry = looked.state().read(&plugin("notes"), "key").await;
        assert_eq!(entry.expect("reads").expect("is there").value.get(), want);
        looked.close().await.expect("closes");
    }
}
