//! Points of a crash that are the store's and not one engine's alone, or need a helper of their own: a
//! migration that breaks off at any of its statements, a disk that does not keep what it was given, a server
//! that cannot be reached for longer than a lease.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use kodex_plugin::PluginName;
use kodex_store::{
    Access, Bounds, Engine, Statement, Store, journal,
    postgres::PgStore,
    queue::{Claim, Claimed, End, Ending, JobState, NewJob, Recover, Renewed},
    sqlite::{SqliteOptions, SqliteStore},
    suite::{SuiteClock, database::Database},
};
use serde_json::value::RawValue;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

const QUEUE: &str = "work";
const SOON: Duration = Duration::from_secs(20);

fn plugin() -> PluginName {
    PluginName::new("notes").expect("is a name")
}

async fn sqlite(folder: &Path, full_sync: bool) -> SqliteStore {
    let mut options = SqliteOptions::new(folder, Arc::new(SuiteClock::default()));
    options.full_sync = full_sync;
    SqliteStore::open(options).await.expect("opens")
}

async fn add(store: &dyn Store, id: &str) -> Result<(), kodex_store::StoreError> {
    let (plugin, payload) = (
        plugin(),
        RawValue::from_string("{}".to_owned()).expect("is JSON"),
    );
    let job = NewJob::new(id, QUEUE, &plugin, "name", &payload);
    store.queue().add(&[job]).await.map(drop)
}

async fn claim(store: &dyn Store, lease_ms: u64) -> Option<Claimed> {
    let claim = Claim {
        queue: QUEUE,
        holder: "holder",
        n: 1,
        lease_ms,
        caps: &[],
        plugins: None,
    };
    store
        .queue()
        .claim(&claim)
        .await
        .expect("is answered")
        .pop()
}

/// CP21: of a migration that breaks off at any of its statements nothing is there, and applied again it is
/// there as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp21_a_migration_that_breaks_off_at_any_statement_leaves_nothing() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let database = Database::new().await;
    let postgres = PgStore::open(database.options()).await.expect("opens");
    let files = sqlite(&folder.path().join("store"), false).await;
    let stores: [&dyn Store; 2] = [&files, &postgres];
    let good: Vec<String> = (1..=5)
        .map(|at| format!("CREATE TABLE t{at} (id INTEGER NOT NULL);"))
        .collect();
    for store in stores {
        for k in 0..=good.len() {
            let name = PluginName::new(format!("notes{k}")).expect("is a name");
            let mut statements = good.clone();
            statements.insert(k, "INSERT INTO nowhere VALUES (1);".to_owned());
            let broken = step(&name, store.engine(), &statements.join("\n"));
            let refused = store.ledger().apply(&name, &broken, None).await;
            refused.expect_err("it breaks off");
            assert_eq!(store.ledger().applied(&name).await, Ok(Vec::new()), "{k}");
            let space = store.namespace(&name, Access::Write).await.expect("opens");
            let look = Statement::new("SELECT count(*) FROM t1");
            space
                .run(&look, &Bounds::default())
                .await
                .expect_err("no table is there");
            let whole = step(&name, store.engine(), &good.join("\n"));
            store
                .ledger()
                .apply(&name, &whole, None)
                .await
                .expect("is applied");
            let look = Statement::new("SELECT count(*) FROM t5");
            space
                .run(&look, &Bounds::default())
                .await
                .expect("is there");
        }
    }
    postgres.close().await.expect("closes");
}

fn step(plugin: &PluginName, engine: Engine, text: &str) -> kodex_store::Step {
    let steps = journal::linked(plugin, &[("0001_tables.sql", text)], engine);
    steps.expect("is sound").remove(0)
}

/// Tells a process of this test that its disk is the one that fails, and in which folder.
const FOLDER: &str = "KODEX_STORE_TEST_DISK";
const CP24: &str = "cp24_a_disk_that_does_not_keep_what_it_was_given_is_said_and_loses_nothing";

/// What stands before the system's own: it fails while a file is there.
const SHIM: &str = "
    #define _GNU_SOURCE
    #include <errno.h>
    #include <stdlib.h>
    #include <unistd.h>
    #include <sys/syscall.h>
    static int fails(void) {
        const char *flag = getenv(\"KODEX_STORE_TEST_FLAG\");
        return flag && access(flag, F_OK) == 0;
    }
    int fsync(int fd) { if (fails()) { errno = EIO; return -1; } return syscall(SYS_fsync, fd); }
    int fdatasync(int fd) { if (fails()) { errno = EIO; return -1; } return syscall(SYS_fdatasync, fd); }
";

/// CP24: a write whose flush fails is refused; what was confirmed before is there after the store was opened
/// again, and what was refused is there as a whole or not at all.
#[test]
#[cfg(target_os = "linux")]
fn cp24_a_disk_that_does_not_keep_what_it_was_given_is_said_and_loses_nothing() {
    if let Some(folder) = child_folder() {
        return runtime().block_on(with_failing_disk(&folder));
    }
    let folder = tempfile::tempdir().expect("makes a folder");
    let shim = made(folder.path());
    #[expect(clippy::disallowed_methods, reason = "the test is its own child")]
    let output = Command::new(std::env::current_exe().expect("is known"))
        .args(["--exact", CP24, "--nocapture"])
        .env(FOLDER, folder.path())
        .env("LD_PRELOAD", &shim)
        .env("KODEX_STORE_TEST_FLAG", folder.path().join("fails"))
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("1 passed"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    runtime().block_on(async {
        let store = sqlite(&folder.path().join("store"), true).await;
        for id in ["before", "after"] {
            assert!(
                store.queue().find(id).await.expect("reads").is_some(),
                "{id} was confirmed"
            );
        }
        assert_eq!(store.check().await.expect("is checked"), Vec::new());
        store.close().await.expect("closes");
    });
}

#[cfg(target_os = "linux")]
fn made(folder: &Path) -> PathBuf {
    let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&source, SHIM).expect("is written");
    #[expect(
        clippy::disallowed_methods,
        reason = "the compiler that the engine was built with"
    )]
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .stdout(Stdio::null())
        .status()
        .expect("runs");
    assert!(built.success());
    shim
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is how the test tells its own child what it is"
)]
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("starts")
}

async fn with_failing_disk(folder: &Path) {
    let store = sqlite(&folder.join("store"), true).await;
    let flag = folder.join("fails");
    add(&store, "before").await.expect("is kept");
    std::fs::write(&flag, "").expect("is written");
    for id in ["refused 1", "refused 2"] {
        let error = add(&store, id).await.expect_err("is not kept");
        assert!(!error.code().contains("internal"), "{error}");
    }
    std::fs::remove_file(&flag).expect("is gone");
    // The store goes on by itself when the disk does.
    let added = async { while add(&store, "after").await.is_err() {} };
    timeout(SOON, added).await.expect("works again");
    store.close().await.expect("closes");
}

/// Passes connections on while it is open; those that are there break when it is closed, and none is made.
struct Gate {
    url: String,
    is_open: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Gate {
    async fn before(url: &str) -> Self {
        let (login, rest) = url.rsplit_once('@').expect("has a login");
        let (address, path) = rest.split_once('/').expect("has a database");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let (is_open, seen) = watch::channel(true);
        let address = address.to_owned();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                if !*seen.borrow() {
                    continue;
                }
                let mut server = TcpStream::connect(&address).await.expect("connects");
                let mut closed = seen.clone();
                links.spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = closed.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self {
            url: format!("{login}@127.0.0.1:{port}/{path}"),
            is_open,
            _tasks: tasks,
        }
    }
}

/// CP29: a node that cannot reach the server for longer than its lease loses its job to another, and what it
/// says when it is back counts for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cp29_a_node_without_the_server_for_longer_than_its_lease_loses_its_job() {
    let database = Database::new().await;
    let gate = Gate::before(&database.url).await;
    let mut options = database.options();
    options.url.clone_from(&gate.url);
    let cut_off = PgStore::open(options).await.expect("opens");
    let other = PgStore::open(database.options()).await.expect("opens");
    add(&cut_off, "a").await.expect("is added");
    let held = claim(&cut_off, 200).await.expect("is due");
    gate.is_open.send_replace(false);
    cut_off
        .queue()
        .renew(std::slice::from_ref(&held.lease), 200)
        .await
        .expect_err("nobody answers");
    let rules = Recover {
        limit: 10,
        max_crashes: 3,
        pauses_ms: &[0],
    };
    let back = async {
        while other
            .queue()
            .recover(&rules)
            .await
            .expect("sweeps")
            .is_empty()
        {}
    };
    timeout(SOON, back).await.expect("its lease ends");
    let taken = claim(&other, 30_000).await.expect("is due again");
    assert_eq!(taken.lease.token, held.lease.token + 1);
    gate.is_open.send_replace(true);
    let late = End {
        lease: &held.lease,
        how: Ending::Complete { result: None },
    };
    let said = async {
        loop {
            if let Ok(took) = cut_off.queue().end(std::slice::from_ref(&late)).await {
                return took;
            }
        }
    };
    assert_eq!(timeout(SOON, said).await.expect("it is back"), [false]);
    let renewed = cut_off
        .queue()
        .renew(std::slice::from_ref(&held.lease), 200)
        .await;
    assert_eq!(renewed.expect("is answered"), [Renewed::Lost]);
    let end = End {
        lease: &taken.lease,
        how: Ending::Complete { result: None },
    };
    assert_eq!(other.queue().end(&[end]).await, Ok(vec![true]));
    let job = cut_off
        .queue()
        .find("a")
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(job.state, JobState::Completed);
    for store in [cut_off, other] {
        store.close().await.expect("closes");
    }
}
