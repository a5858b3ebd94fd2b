//! What only a store of files has: two of them on one folder, ends in the middle, damage, backups.
//!
//! Where a process must die, this test starts itself again as that process.

mod child;
#[path = "sqlite_files/full.rs"]
mod full;
#[path = "sqlite_files/gone.rs"]
mod gone;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use kodex_plugin::{Clock, PluginName};
use kodex_store::{
    Access, Bounds, Namespace, Statement, Step, Store, StoreError, Value,
    journal::{StepKind, checksum},
    sqlite::{SqliteOptions, SqliteStore, restore},
    state::{OnlyIf, Write, Written},
    suite::SuiteClock,
};
use rusqlite::Connection;
use serde_json::value::RawValue;

/// The longest wait for something that must come.
const SOON: Duration = Duration::from_secs(20);

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).expect("is a name")
}

fn options(folder: &Path) -> SqliteOptions {
    SqliteOptions::new(folder, Arc::new(SuiteClock::default()))
}

async fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(options(folder)).await.expect("opens")
}

async fn refused(options: SqliteOptions) -> StoreError {
    match SqliteStore::open(options).await {
        Err(error) => error,
        Ok(_) => panic!("it opened"),
    }
}

fn step(file: &str, text: &str) -> Step {
    Step {
        number: 1,
        file: file.to_owned(),
        kind: StepKind::Sql,
        text: text.to_owned(),
        checksum: checksum(text.as_bytes()),
    }
}

async fn set(
    store: &dyn Store,
    name: &PluginName,
    key: &str,
    value: &str,
) -> Result<Written, StoreError> {
    let value = RawValue::from_string(value.to_owned()).expect("is JSON");
    let write = Write {
        key,
        value: Some(&value),
        ttl_ms: None,
        only_if: OnlyIf::Always,
        under: None,
    };
    store.state().write(name, &write).await
}

async fn value(store: &dyn Store, name: &PluginName, key: &str) -> Option<String> {
    let entry = store.state().read(name, key).await.expect("reads");
    entry.map(|entry| entry.value.get().to_owned())
}

async fn run(space: &dyn Namespace, text: &str) -> Result<Vec<Vec<Value>>, StoreError> {
    let rows = space.run(&Statement::new(text), &Bounds::default()).await;
    rows.map(|rows| rows.rows)
}

async fn count(store: &dyn Store, name: &PluginName, table: &str) -> i64 {
    let space = store.namespace(name, Access::Read).await.expect("opens");
    let rows = run(&*space, &format!("SELECT count(*) FROM {table}")).await;
    match rows.expect("counts")[0][0] {
        Value::Integer(n) => n,
        ref other => panic!("{other:?}"),
    }
}

async fn notes(store: &dyn Store, name: &PluginName) {
    let step = step(
        "0001_notes.sql",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT);",
    );
    store
        .ledger()
        .apply(name, &step, None)
        .await
        .expect("applies");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_makes_nothing_and_writing_makes_private_files() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let path = folder.path().join("deep/store");
    let store = open(&path).await;
    let name = plugin("notes");
    assert_eq!(value(&store, &name, "key").await, None);
    assert_eq!(store.plugins().await, Ok(Vec::new()));
    assert_eq!(store.check().await, Ok(Vec::new()));
    assert_eq!(store.ledger().applied(&name).await, Ok(Vec::new()));
    let space = store.namespace(&name, Access::Read).await.expect("opens");
    run(&*space, "SELECT 1").await.expect("needs no file");
    assert_eq!(store.state().sweep(10).await, Ok(0));
    assert!(!folder.path().join("deep").exists());
    set(&store, &name, "key", "1").await.expect("writes");
    notes(&store, &name).await;
    #[cfg(unix)]
    for (made, mode) in [
        ("", 0o700),
        ("plugins", 0o700),
        ("kodex.db", 0o600),
        ("kodex.db-wal", 0o600),
        ("plugins/notes.db", 0o600),
    ] {
        let meta = fs::metadata(path.join(made)).expect("is there");
        let found = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777;
        assert_eq!(found, mode, "{made}");
    }
    store.close().await.expect("closes");
    assert!(
        !path.join("kodex.db-wal").exists(),
        "the last connection tidies up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_share_a_folder() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let (one, other) = tokio::join!(open(folder.path()), open(folder.path()));
    let (one, other) = (Arc::new(one), Arc::new(other));
    let name = plugin("notes");
    let writers: Vec<_> = [&one, &other, &one, &other]
        .into_iter()
        .enumerate()
        .map(|(writer, store)| {
            let (store, name) = (Arc::clone(store), name.clone());
            tokio::task::JoinSet::from_iter([async move {
                let mut versions = Vec::new();
                for at in 0..30 {
                    let done = set(&*store, &name, &format!("key{writer}"), &at.to_string()).await;
                    match done.expect("writes") {
                        Written::Done { version } => versions.push(version),
                        Written::Refused { .. } => panic!("there is no condition"),
                    }
                }
                versions
            }])
        })
        .collect();
    let mut all = Vec::new();
    for mut writer in writers {
        while let Some(versions) = writer.join_next().await {
            let versions = versions.expect("ends");
            assert!(versions.is_sorted());
            all.extend(versions);
        }
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 120, "every version once");
    notes(&*one, &name).await;
    let space = other.namespace(&name, Access::Write).await.expect("opens");
    run(&*space, "INSERT INTO notes VALUES (1, 'a')")
        .await
        .expect("writes");
    assert_eq!(count(&*one, &name, "notes").await, 1);
    let lock = one.state().lock(&name, "lock", 1_000).await.expect("locks");
    let held = other.state().lock(&name, "lock", 1_000).await;
    assert_eq!(held.expect_err("is held").code(), "state.locked");
    assert_eq!(other.state().unlock(&name, &lock).await, Ok(true));
}

/// Each store has versions in reserve, those of one below those of the other.
#[tokio::test(flavor = "multi_thread")]
async fn versions_of_a_key_rise_whoever_writes_it() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let stores = [open(folder.path()).await, open(folder.path()).await];
    let name = plugin("notes");
    let mut last = 0;
    // Which store writes, and whether the key is deleted before.
    for (at, deletes) in [
        (0, false),
        (0, false),
        (0, false),
        (1, false),
        (1, false),
        (0, false),
        (1, false),
        (0, true),
        (1, true),
        (1, false),
        (0, true),
    ] {
        let store = &stores[at];
        if deletes {
            let delete = Write {
                key: "key",
                value: None,
                ttl_ms: None,
                only_if: OnlyIf::Version(last),
                under: None,
            };
            let done = stores[1 - at].state().write(&name, &delete).await;
            assert_eq!(done, Ok(Written::Done { version: last }));
        }
        let done = set(store, &name, "key", "1").await;
        let Ok(Written::Done { version }) = done else {
            panic!("{done:?}");
        };
        assert!(version > last, "{last} {version}");
        last = version;
    }
    assert_eq!(stores[0].check().await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_another_process_is_waited_for_within_bounds() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = open(folder.path()).await;
    let name = plugin("notes");
    notes(&store, &name).await;
    let space = store.namespace(&name, Access::Write).await.expect("opens");
    let foreign = Connection::open(folder.path().join("plugins/notes.db")).expect("opens");
    foreign.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let bounds = Bounds {
        timeout: Duration::from_millis(200),
        ..Bounds::default()
    };
    let insert = Statement::new("INSERT INTO notes VALUES (1, 'a')");
    let error = space.run(&insert, &bounds).await.expect_err("is locked");
    assert_eq!(error.code(), "store.busy", "{error}");
    let (waiting, ()) = tokio::join!(
        async { space.run(&insert, &Bounds::default()).await },
        async {
            tokio::task::yield_now().await;
            foreign.execute_batch("COMMIT").expect("unlocks");
        }
    );
    waiting.expect("gets its turn");
}

/// On one thread: whoever waited here for the file would keep the other one from letting it go.
#[tokio::test]
async fn values_wait_for_another_process_without_keeping_the_thread() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = open(folder.path()).await;
    let name = plugin("notes");
    for at in 0..4 {
        set(&store, &name, "key", &at.to_string())
            .await
            .expect("writes");
    }
    let foreign = Connection::open(folder.path().join("kodex.db")).expect("opens");
    foreign.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let (done, read) = tokio::join!(set(&store, &name, "key", "5"), async {
        let read = value(&store, &name, "key").await;
        tokio::task::yield_now().await;
        foreign.execute_batch("COMMIT").expect("unlocks");
        read
    });
    assert!(matches!(done, Ok(Written::Done { .. })), "{done:?}");
    assert_eq!(read.as_deref(), Some("3"), "readers do not wait");
    assert_eq!(value(&store, &name, "key").await.as_deref(), Some("5"));
}

/// Values are read where they are asked for, so nothing else makes such a caller wait.
#[tokio::test]
async fn who_asks_for_values_without_end_lets_others_run() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = open(folder.path()).await;
    let name = plugin("notes");
    set(&store, &name, "key", "1").await.expect("writes");
    let until = patience();
    let asking = async {
        while SuiteClock::default().now() < until {
            value(&store, &name, "key").await;
            set(&store, &name, "key", "2").await.expect("writes");
        }
    };
    let other = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = asking => panic!("nobody else came to run"),
        () = other => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opened_for_reading_refuses_writes() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let name = plugin("notes");
    let store = open(folder.path()).await;
    set(&store, &name, "key", "1").await.expect("writes");
    notes(&store, &name).await;
    store.close().await.expect("closes");
    let store = SqliteStore::open(SqliteOptions {
        read_only: true,
        ..options(folder.path())
    })
    .await;
    let store = store.expect("opens");
    assert_eq!(value(&store, &name, "key").await.as_deref(), Some("1"));
    assert_eq!(count(&store, &name, "notes").await, 0);
    let write = set(&store, &name, "key", "2")
        .await
        .expect_err("only reads");
    let lock = store
        .state()
        .lock(&name, "lock", 10)
        .await
        .expect_err("only reads");
    let opened = store
        .namespace(&name, Access::Write)
        .await
        .err()
        .expect("only reads");
    let applied = store
        .ledger()
        .apply(&name, &step("0002_a.sql", "SELECT 1;"), None)
        .await;
    let renamed = store.ledger().rename(&name, &plugin("pages")).await;
    for error in [
        write,
        lock,
        opened,
        applied.expect_err("only reads"),
        renamed.expect_err("only reads"),
    ] {
        assert_eq!(error.code(), "store.read_only", "{error}");
    }
    assert_eq!(store.check().await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_a_folder_is_said() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let file = folder.path().join("file");
    fs::write(&file, "text").expect("writes");
    assert_eq!(refused(options(&file)).await.code(), "store.unreachable");
    // Below a file there can be no folder; that is found at the first write, and not even root gets past it.
    let store = open(&file.join("store")).await;
    let error = set(&store, &plugin("notes"), "key", "1")
        .await
        .expect_err("has no place");
    assert_eq!(error.code(), "store.unreachable");
    assert!(error.to_string().contains("file/store"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_refuses_and_leaves_the_file_whole() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let quota_bytes = 256 << 10;
    let store = SqliteStore::open(SqliteOptions {
        quota_bytes,
        ..options(folder.path())
    })
    .await;
    let store = store.expect("opens");
    let name = plugin("notes");
    notes(&store, &name).await;
    let space = store.namespace(&name, Access::Write).await.expect("opens");
    let insert = Statement::with(
        "INSERT INTO notes (text) VALUES (?)",
        [Value::Text("x".repeat(20_000))],
    );
    let mut n_rows = 0;
    let error = loop {
        match space.run(&insert, &Bounds::default()).await {
            Ok(_) => n_rows += 1,
            Err(error) => break error,
        }
        assert!(n_rows < 20, "the quota holds");
    };
    assert!(n_rows > 5, "{n_rows}");
    assert_eq!(error.code(), "store.full");
    assert!(error.to_string().contains("quota"), "{error}");
    let step2 = step("0002_a.sql", "CREATE TABLE copy AS SELECT * FROM notes;");
    let newest = store
        .ledger()
        .applied(&name)
        .await
        .expect("reads")
        .pop()
        .map(|row| row.id);
    let full = store.ledger().apply(&name, &step2, newest.as_deref()).await;
    assert_eq!(full.expect_err("has no room").code(), "store.full");
    assert_eq!(count(&store, &name, "notes").await, n_rows);
    run(&*space, "DELETE FROM notes").await.expect("makes room");
    space
        .run(&insert, &Bounds::default())
        .await
        .expect("fits again");
    assert_eq!(store.check().await, Ok(Vec::new()));
    set(&store, &name, "key", "1")
        .await
        .expect("state is apart");
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_formats_are_refused() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let name = plugin("notes");
    let store = open(folder.path()).await;
    set(&store, &name, "key", "1").await.expect("writes");
    notes(&store, &name).await;
    store.close().await.expect("closes");
    let newer = |file: &str, format: &str| {
        let db = Connection::open(folder.path().join(file)).expect("opens");
        db.execute(
            "UPDATE kodex_meta SET value = ?1 WHERE key = 'format'",
            [format],
        )
        .expect("writes");
    };
    newer("plugins/notes.db", "2");
    let store = open(folder.path()).await;
    for access in [Access::Read, Access::Write] {
        let space = store
            .namespace(&name, access)
            .await
            .expect("looks at the first statement");
        let error = run(&*space, "INSERT INTO notes VALUES (1, 'a')")
            .await
            .expect_err("is newer");
        assert!(
            matches!(
                error,
                StoreError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    assert_eq!(store.check().await.expect("checks").len(), 1);
    store.close().await.expect("closes");
    newer("kodex.db", "7");
    let error = refused(options(folder.path())).await;
    assert!(
        matches!(
            error,
            StoreError::Newer {
                found: 7,
                known: 2,
                ..
            }
        ),
        "{error:?}"
    );
    newer("kodex.db", "soon");
    assert_eq!(
        refused(options(folder.path())).await.code(),
        "store.damaged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_said_and_found() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let (name, other) = (plugin("notes"), plugin("pages"));
    let store = open(folder.path()).await;
    set(&store, &name, "key", "1").await.expect("writes");
    for name in [&name, &other] {
        notes(&store, name).await;
        let space = store.namespace(name, Access::Write).await.expect("opens");
        run(&*space, "INSERT INTO notes WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i, 'abcdefgh' FROM n")
            .await
            .expect("fills");
    }
    store.close().await.expect("closes");
    let path = folder.path().join("plugins/notes.db");
    let mut bytes = fs::read(&path).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xa5);
    fs::write(&path, bytes).expect("writes");
    fs::write(
        folder.path().join("plugins/third.db"),
        "this is no database at all",
    )
    .expect("writes");
    let db = Connection::open(folder.path().join("plugins/pages.db")).expect("opens");
    db.execute("UPDATE kodex_journal SET checksum = 'short'", [])
        .expect("writes");
    let db = Connection::open(folder.path().join("kodex.db")).expect("opens");
    db.execute("UPDATE state SET value = '{broken'", [])
        .expect("writes");
    drop(db);

    let store = open(folder.path()).await;
    let space = store.namespace(&name, Access::Read).await.expect("opens");
    let error = run(&*space, "SELECT sum(length(text)) FROM notes")
        .await
        .expect_err("is damaged");
    assert_eq!(error.code(), "store.damaged", "{error}");
    let error = store
        .ledger()
        .applied(&other)
        .await
        .expect_err("is malformed");
    assert_eq!(error.code(), "ledger.malformed", "{error}");
    let error = store
        .state()
        .read(&name, "key")
        .await
        .expect_err("is no JSON");
    assert_eq!(error.code(), "store.damaged", "{error}");
    let findings = store.check().await.expect("checks");
    let mut codes: Vec<_> = findings
        .iter()
        .map(|finding| {
            (
                finding.plugin.as_ref().map_or("", PluginName::as_str),
                finding.code,
            )
        })
        .collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(
        codes,
        [
            ("notes", "store.integrity"),
            ("notes", "store.state"),
            ("pages", "store.ledger"),
            ("third", "store.integrity"),
        ],
        "{findings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_plugin_is_not_taken_for_ones_own() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = open(folder.path()).await;
    notes(&store, &plugin("notes")).await;
    store.close().await.expect("closes");
    let at = |name: &str| folder.path().join("plugins").join(name);
    fs::rename(at("notes.db"), at("pages.db")).expect("moves");
    let store = open(folder.path()).await;
    let error = store
        .ledger()
        .applied(&plugin("pages"))
        .await
        .expect_err("is another's");
    assert_eq!(error.code(), "store.damaged");
    assert!(error.to_string().contains("notes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_and_comes_back() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = Arc::new(open(&folder.path().join("store")).await);
    let name = plugin("notes");
    notes(&*store, &name).await;
    let space = store.namespace(&name, Access::Write).await.expect("opens");
    let mut writer = tokio::task::JoinSet::new();
    let busy = (Arc::clone(&store), name.clone());
    writer.spawn(async move {
        let (store, name) = busy;
        for at in 0_u64.. {
            // Two rows in one statement: a copy of half of it would have an odd number.
            run(&*space, "INSERT INTO notes (text) VALUES ('a'), ('b')")
                .await
                .expect("writes");
            set(&*store, &name, "at", &at.to_string())
                .await
                .expect("writes");
        }
    });
    let mut last = 0;
    for at in 0..3 {
        while count(&*store, &name, "notes").await <= last {}
        let backup = folder.path().join(format!("backup{at}"));
        store.backup(&backup).await.expect("copies");
        let back = folder.path().join(format!("back{at}"));
        restore(&backup, &back).expect("restores");
        let copy = open(&back).await;
        let n_rows = count(&copy, &name, "notes").await;
        assert!(n_rows > last && n_rows % 2 == 0, "{n_rows}");
        last = n_rows;
        assert_eq!(copy.check().await, Ok(Vec::new()));
        assert_eq!(copy.ledger().applied(&name).await.expect("reads").len(), 1);
        assert!(value(&copy, &name, "at").await.is_some() || at == 0);
        set(&copy, &name, "own", "1")
            .await
            .expect("is a store of its own");
    }
    writer.shutdown().await;
    let backup = folder.path().join("backup0");
    let code = |result: Result<(), StoreError>| result.expect_err("is refused").code();
    assert_eq!(
        code(store.backup(&backup).await),
        "store.unreachable",
        "it is there already"
    );
    assert_eq!(
        code(restore(&backup, &folder.path().join("store"))),
        "store.unreachable"
    );
    assert_eq!(
        code(restore(folder.path(), &folder.path().join("new"))),
        "store.unreachable"
    );
    let file = backup.join("plugins/notes.db");
    let mut bytes = fs::read(&file).expect("reads");
    let end = bytes.len() - 10;
    bytes[end] ^= 1;
    fs::write(&file, bytes).expect("writes");
    assert_eq!(
        code(restore(&backup, &folder.path().join("new"))),
        "store.damaged"
    );
    assert!(!folder.path().join("new").exists());
    let left: Vec<_> = fs::read_dir(folder.path())
        .expect("lists")
        .map(|entry| {
            entry
                .expect("is there")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, [""; 0], "nothing half made stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_text_tables_work_and_stay_the_plugins_own() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let store = open(folder.path()).await;
    let name = plugin("memory");
    let text = "CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT);
        CREATE VIRTUAL TABLE found USING fts5 (text, content = 'memories', content_rowid = 'id');
        CREATE TRIGGER added AFTER INSERT ON memories BEGIN
            INSERT INTO found (rowid, text) VALUES (new.id, new.text);
        END;
        CREATE TRIGGER refuse BEFORE DELETE ON memories BEGIN SELECT RAISE(ABORT, 'memories stay'); END;
        ANALYZE;";
    store
        .ledger()
        .apply(&name, &step("0001_a.sql", text), None)
        .await
        .expect("applies");
    let space = store.namespace(&name, Access::Write).await.expect("opens");
    run(
        &*space,
        "INSERT INTO memories (text) VALUES ('a red fox'), ('a blue bird')",
    )
    .await
    .expect("writes");
    let read = store.namespace(&name, Access::Read).await.expect("opens");
    let rows = run(
        &*read,
        "SELECT rowid, snippet(found, 0, '[', ']', '', 8) FROM found WHERE found MATCH 'bird' ORDER BY bm25(found)",
    );
    let rows = rows.await.expect("finds");
    assert_eq!(
        rows,
        [[Value::Integer(2), Value::Text("a blue [bird]".into())]]
    );
    let error = run(&*space, "DELETE FROM memories")
        .await
        .expect_err("is refused");
    assert!(
        matches!(&error, StoreError::Constraint { message, .. } if message == "memories stay"),
        "{error:?}"
    );
    let error = space
        .run(
            &Statement::with(
                "SELECT * FROM found WHERE found MATCH ?",
                [Value::Text("\"SECRET".into())],
            ),
            &Bounds::default(),
        )
        .await
        .expect_err("is no search");
    assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    for text in [
        "DELETE FROM found_data",
        "INSERT INTO found_config VALUES ('x', 1)",
    ] {
        assert!(run(&*space, text).await.is_err(), "{text}");
    }
    assert_eq!(store.check().await, Ok(Vec::new()));
    let names: Vec<_> = store
        .tables(&name)
        .await
        .expect("tells")
        .into_iter()
        .map(|table| table.name)
        .collect();
    assert_eq!(names, ["found", "memories"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_end_when_nothing_is_asked_and_start_again() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let idle = Duration::from_millis(20);
    let store = SqliteStore::open(SqliteOptions {
        idle,
        ..options(folder.path())
    })
    .await
    .expect("opens");
    let name = plugin("notes");
    for at in 0..3 {
        set(&store, &name, "key", &at.to_string())
            .await
            .expect("writes");
        assert_eq!(value(&store, &name, "key").await, Some(at.to_string()));
        let clock = SuiteClock::default();
        let until = clock.now() + SOON;
        // The last connection that goes takes the write-ahead log with it.
        while folder.path().join("kodex.db-wal").exists() {
            assert!(clock.now() < until, "the connections are closed");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_was_broken_off_is_completed() {
    let (from, to) = (plugin("notes"), plugin("pages"));
    // After each of the three parts of a rename: the intention, the ids in the file, the file's name.
    for n_done in 1..=3 {
        let folder = tempfile::tempdir().expect("makes a folder");
        let store = open(folder.path()).await;
        notes(&store, &from).await;
        set(&store, &from, "key", "1").await.expect("writes");
        store.close().await.expect("closes");
        let db = Connection::open(folder.path().join("kodex.db")).expect("opens");
        db.execute_batch(
            "BEGIN; INSERT INTO renames VALUES ('notes', 'pages'); UPDATE state SET plugin = 'pages';
             UPDATE counters SET plugin = 'pages'; COMMIT",
        )
        .expect("writes");
        drop(db);
        let at = |name: &str| folder.path().join("plugins").join(name);
        if n_done > 1 {
            let db = Connection::open(at("notes.db")).expect("opens");
            db.execute_batch(
                "PRAGMA journal_mode = DELETE;
                 BEGIN; UPDATE kodex_journal SET id = 'plugin:pages/0001_notes.sql';
                 UPDATE kodex_meta SET value = 'pages' WHERE key = 'plugin'; COMMIT",
            )
            .expect("writes");
        }
        if n_done > 2 {
            fs::rename(at("notes.db"), at("pages.db")).expect("moves");
        }
        let store = open(folder.path()).await;
        let applied = store.ledger().applied(&to).await.expect("reads");
        assert_eq!(
            applied[0].id, "plugin:pages/0001_notes.sql",
            "after {n_done}"
        );
        assert_eq!(value(&store, &to, "key").await.as_deref(), Some("1"));
        assert_eq!(
            store.plugins().await,
            Ok(vec![to.clone()]),
            "after {n_done}"
        );
        assert_eq!(store.ledger().applied(&from).await, Ok(Vec::new()));
        assert_eq!(store.check().await, Ok(Vec::new()));
        store
            .ledger()
            .rename(&to, &from)
            .await
            .expect("the way back is free");
        assert_eq!(count(&store, &from, "notes").await, 0);
    }
}

#[test]
fn a_process_that_is_killed_leaves_a_whole_store() {
    child::kill_at_every_point();
}

#[test]
fn where_no_byte_can_be_written_any_more_nothing_is_half_done() {
    full::fill_up();
}

/// The moment when something has waited for too long.
fn patience() -> Instant {
    SuiteClock::default().now() + SOON
}
