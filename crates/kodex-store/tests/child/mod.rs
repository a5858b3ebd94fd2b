//! A process of our own that writes until it is killed, and the look at what it left.
//!
//! It prints a line for every write that was confirmed. What was confirmed must be there afterwards, and
//! nothing may be there by half.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{SuiteClock, count, open, patience, plugin, run, set, step, value};
use kodex_plugin::Clock as _;
use kodex_store::{Access, Bounds, Statement, Store as _, journal::plan};

/// Tells a process of this test that it is the one to be killed, and in which folder.
const FOLDER: &str = "KODEX_STORE_TEST_FOLDER";
const N_STEPS: usize = 400;

/// Kills a writing process at points of its work, one store for all, and looks after each.
#[expect(
    clippy::disallowed_methods,
    reason = "it is how the test tells its own child what it is"
)]
pub(super) fn kill_at_every_point() {
    if let Some(folder) = std::env::vars_os().find(|(name, _)| name == FOLDER) {
        runtime().block_on(write(Path::new(&folder.1)));
        return;
    }
    let folder = tempfile::tempdir().expect("makes a folder");
    let mut confirmed = Confirmed::default();
    // Odd numbers, so that each falls into another place of the turn and of the write-ahead log.
    for n_lines in [1, 2, 3, 5, 8, 14, 33, 70, 131, 260] {
        let mut child = start(folder.path());
        let out = child.stdout.take().expect("is piped");
        let until = patience();
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        let mut n_seen = 0;
        for line in lines.by_ref() {
            if confirmed.take(&line) {
                n_seen += 1;
            }
            if n_seen >= n_lines || SuiteClock::default().now() > until {
                break;
            }
        }
        child.kill().expect("is killed");
        child.wait().expect("is gone");
        // What it could say before it died counts too.
        for line in lines {
            confirmed.take(&line);
        }
        assert!(n_seen >= n_lines, "{n_seen} of {n_lines} lines came");
        runtime().block_on(look(folder.path(), &confirmed));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("starts")
}

#[expect(clippy::disallowed_methods, reason = "the test is its own child")]
fn start(folder: &Path) -> Child {
    let test = std::env::current_exe().expect("is known");
    Command::new(test)
        .args([
            "--exact",
            "a_process_that_is_killed_leaves_a_whole_store",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// The last of each kind that the process confirmed.
#[derive(Default)]
struct Confirmed {
    state: Option<u64>,
    rows: i64,
    steps: usize,
}

impl Confirmed {
    fn take(&mut self, line: &str) -> bool {
        let Some((kind, number)) = line.split_once(' ') else {
            return false;
        };
        match (kind, number.parse::<u64>()) {
            ("state", Ok(number)) => self.state = Some(number),
            ("rows", Ok(number)) => self.rows = i64::try_from(number).expect("is small"),
            ("step", Ok(number)) => self.steps = usize::try_from(number).expect("is small"),
            _ => return false,
        }
        true
    }
}

fn say(line: &str) {
    // The parent reads until it kills this process; a pipe without a reader is the end as well.
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn steps() -> Vec<kodex_store::Step> {
    (1..=N_STEPS)
        .map(|at| {
            let text = format!("CREATE TABLE t{at} (id INTEGER); INSERT INTO t{at} VALUES (1); INSERT INTO t{at} VALUES (2);");
            let mut step = step(&format!("{at:04}_t.sql"), &text);
            step.number = u16::try_from(at).expect("is small");
            step
        })
        .collect()
}

async fn write(folder: &Path) {
    let store = open(folder).await;
    let (state, rows, journal) = (plugin("state"), plugin("rows"), plugin("journal"));
    let migrate = store
        .namespace(&rows, Access::Migrate)
        .await
        .expect("opens");
    run(
        &*migrate,
        "CREATE TABLE IF NOT EXISTS pairs (id INTEGER PRIMARY KEY, half INTEGER)",
    )
    .await
    .expect("makes");
    let space = store.namespace(&rows, Access::Write).await.expect("opens");
    let steps = steps();
    let applied = store.ledger().applied(&journal).await.expect("reads");
    let plan = plan(&journal, &steps, &applied).expect("is sound");
    let mut after = plan.newest.clone();
    let mut pending = plan.pending.iter();
    let mut at = value(&store, &state, "at")
        .await
        .map_or(0, |at| at.parse().expect("is a number"));
    loop {
        at += 1;
        set(&store, &state, "at", &at.to_string())
            .await
            .expect("writes");
        say(&format!("state {at}"));
        pair(&*space).await;
        say(&format!("rows {}", count(&store, &rows, "pairs").await));
        if let Some(step) = pending.next() {
            let applied = store.ledger().apply(&journal, step, after.as_deref()).await;
            after = Some(applied.expect("applies").id);
            say(&format!("step {}", step.number));
        }
    }
}

/// Two rows in one transaction over several calls.
async fn pair(space: &dyn kodex_store::Namespace) {
    let bounds = Bounds::default();
    let mut transaction = space.begin(&bounds).await.expect("begins");
    for half in 0..2 {
        let insert = Statement::new(format!("INSERT INTO pairs (half) VALUES ({half})"));
        transaction.run(&insert, &bounds).await.expect("writes");
    }
    transaction.commit().await.expect("commits");
}

async fn look(folder: &Path, confirmed: &Confirmed) {
    let store = open(folder).await;
    let (state, rows, journal) = (plugin("state"), plugin("rows"), plugin("journal"));
    assert_eq!(store.check().await, Ok(Vec::new()));
    let at: Option<u64> = value(&store, &state, "at")
        .await
        .map(|at| at.parse().expect("is a number"));
    assert!(
        at >= confirmed.state && at <= confirmed.state.map(|at| at + 1).or(Some(1)),
        "{at:?} {:?}",
        confirmed.state
    );
    if store.plugins().await.expect("lists").contains(&rows) && confirmed.rows > 0 {
        let n_rows = count(&store, &rows, "pairs").await;
        assert!(
            n_rows >= confirmed.rows && n_rows <= confirmed.rows + 2 && n_rows % 2 == 0,
            "{n_rows} {}",
            confirmed.rows
        );
    }
    let applied = store.ledger().applied(&journal).await.expect("reads");
    let n_applied = applied.len();
    assert!(
        n_applied >= confirmed.steps && n_applied <= confirmed.steps + 1,
        "{n_applied} {}",
        confirmed.steps
    );
    let tables = store.tables(&journal).await.expect("tells");
    assert_eq!(
        tables.len(),
        n_applied,
        "a step and its row are there together"
    );
    for table in tables {
        assert_eq!(
            count(&store, &journal, &table.name).await,
            2,
            "{}",
            table.name
        );
    }
    store.close().await.expect("closes");
}
