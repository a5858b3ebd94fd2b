//! A process of our own whose files may not grow beyond a size, and the look at what it left.
//!
//! The shell sets the limit and keeps its signal away, so that no right is needed that a test may lack;
//! the system then refuses a write as it does on a disk without room.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use kodex_store::{Access, Bounds, Namespace, Statement, Store as _, StoreError, Value};

use super::{count, open, plugin, run, set, step, value};

/// Tells a process of this test that it is the one with the limit, and in which folder.
const FOLDER: &str = "KODEX_STORE_TEST_FULL";
/// Blocks of 512 bytes.
const LIMIT: &str = "trap '' XFSZ; ulimit -f 600; exec \"$@\"";
/// More rows than fit by far.
const MANY: usize = 2_000;

/// Fills the store of a limited process, and looks at it without the limit.
#[expect(
    clippy::disallowed_methods,
    reason = "it is how the test tells its own child what it is"
)]
pub(super) fn fill_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("starts");
    if let Some((_, folder)) = std::env::vars_os().find(|(name, _)| name == FOLDER) {
        runtime.block_on(write(Path::new(&folder)));
        return;
    }
    let folder = tempfile::tempdir().expect("makes a folder");
    let child = Command::new("sh")
        .args(["-c", LIMIT, "sh"])
        .arg(std::env::current_exe().expect("is known"))
        .args([
            "--exact",
            "where_no_byte_can_be_written_any_more_nothing_is_half_done",
            "--nocapture",
        ])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("starts");
    let (out, err) = (
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr),
    );
    assert!(child.status.success(), "{out}{err}");
    let told = |what: &str| -> i64 {
        let line = out.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap_or_else(|| panic!("{what}: {out}{err}"))
            .trim()
            .parse()
            .expect("is a number")
    };
    runtime.block_on(look(folder.path(), told("rows"), told("keys")));
}

fn check_full(error: &StoreError, owner: &str) {
    assert_eq!(error.code(), "store.full", "{error}");
    let text = error.to_string();
    assert!(text.contains(owner) && text.contains("make room"), "{text}");
}

async fn write(folder: &Path) {
    let store = open(folder).await;
    let (rows, state) = (plugin("rows"), plugin("state"));
    let migrate = store
        .namespace(&rows, Access::Migrate)
        .await
        .expect("opens");
    let table = "CREATE TABLE lines (id INTEGER PRIMARY KEY, text TEXT)";
    run(&*migrate, table).await.expect("makes");
    let space = store.namespace(&rows, Access::Write).await.expect("opens");
    // The ledger has its place before the room is gone.
    let first = step("0001_a.sql", "CREATE TABLE a (id INTEGER)");
    let first = store.ledger().apply(&rows, &first, None).await;
    let first = first.expect("applies").id;

    let insert = "INSERT INTO lines (text) VALUES (hex(zeroblob(2000)))";
    let mut n_rows = 0;
    let error = loop {
        match run(&*space, insert).await {
            Ok(_) => n_rows += 1,
            Err(error) => break error,
        }
        assert!(n_rows < MANY, "there is no limit");
    };
    check_full(&error, "plugin rows");
    halves(&*space).await;
    let mut next = step(
        "0002_b.sql",
        "CREATE TABLE b AS SELECT * FROM lines; CREATE TABLE c (id INTEGER)",
    );
    next.number = 2;
    let error = store.ledger().apply(&rows, &next, Some(&first)).await;
    check_full(&error.expect_err("has no room"), "plugin rows");
    assert_eq!(store.ledger().applied(&rows).await.expect("reads").len(), 1);
    // Reading goes on, and says what was confirmed.
    assert_eq!(
        count(&store, &rows, "lines").await,
        i64::try_from(n_rows).expect("is small")
    );

    let text = format!("\"{}\"", "x".repeat(4_000));
    let mut n_keys = 0;
    let error = loop {
        match set(&store, &state, &format!("key {n_keys}"), &text).await {
            Ok(_) => n_keys += 1,
            Err(error) => break error,
        }
        assert!(n_keys < MANY, "there is no limit");
    };
    check_full(&error, "plugin state");
    assert!(n_rows > 10 && n_keys > 10, "{n_rows} {n_keys}");
    // A line of its own: the harness may have begun one.
    let said = writeln!(std::io::stdout(), "\nrows {n_rows}\nkeys {n_keys}");
    said.expect("the parent reads");
}

/// A transaction whose beginning fits and whose end does not.
async fn halves(space: &dyn Namespace) {
    let bounds = Bounds::default();
    let Ok(mut transaction) = space.begin(&bounds).await else {
        return;
    };
    let small = Statement::new("INSERT INTO lines (text) VALUES ('half')");
    let large = Statement::with(
        "INSERT INTO lines (text) SELECT hex(zeroblob(500000)) WHERE ?",
        [Value::Bool(true)],
    );
    let mut result = transaction.run(&small, &bounds).await.map(drop);
    for _ in 0..5 {
        if result.is_ok() {
            result = transaction.run(&large, &bounds).await.map(drop);
        }
    }
    let ended = match result {
        Ok(()) => transaction.commit().await,
        Err(error) => Err(error),
    };
    check_full(&ended.expect_err("has no room"), "plugin rows");
}

async fn look(folder: &Path, n_rows: i64, n_keys: i64) {
    let store = open(folder).await;
    let (rows, state) = (plugin("rows"), plugin("state"));
    assert_eq!(store.check().await, Ok(Vec::new()));
    assert_eq!(count(&store, &rows, "lines").await, n_rows);
    let names: Vec<_> = store.tables(&rows).await.expect("tells");
    let names: Vec<_> = names.into_iter().map(|table| table.name).collect();
    assert_eq!(names, ["a", "lines"]);
    let last = format!("key {}", n_keys - 1);
    assert!(value(&store, &state, &last).await.is_some(), "{last}");
    assert_eq!(value(&store, &state, &format!("key {n_keys}")).await, None);
    // With room again, writing goes on.
    let space = store.namespace(&rows, Access::Write).await.expect("opens");
    let insert = "INSERT INTO lines (text) VALUES ('after')";
    run(&*space, insert).await.expect("writes");
    set(&store, &state, "after", "1").await.expect("writes");
    store.close().await.expect("closes");
}
