//! Connections that break at the worst moment, behind a proxy that breaks them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use kodex_store::{
    Access, Bounds, Namespace, Statement, Store, Value,
    postgres::{PgOptions, PgStore},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use kodex_store::suite::database::{Database, connect, name};

/// Passes everything on until it is armed; then the answer to the next message that holds the word, which
/// is `COMMIT` unless another is given, is lost with its connection.
pub(super) struct Proxy {
    pub(super) url: String,
    pub(super) is_armed: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn before(url: &str) -> Self {
        Self::cutting(url, "COMMIT").await
    }

    pub(super) async fn cutting(url: &str, word: &'static str) -> Self {
        let (login, rest) = url.rsplit_once('@').expect("has a login");
        let (address, path) = rest.split_once('/').expect("has a database");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let is_armed = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let (armed, address) = (Arc::clone(&is_armed), address.to_owned());
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.expect("connects");
                links.spawn(link(client, server, word, Arc::clone(&armed)));
            }
        });
        Self {
            url: format!("{login}@127.0.0.1:{port}/{path}"),
            is_armed,
            _tasks: tasks,
        }
    }
}

async fn link(
    mut client: TcpStream,
    mut server: TcpStream,
    word: &'static str,
    is_armed: Arc<AtomicBool>,
) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut cuts = false;
    loop {
        tokio::select! {
            n = client.read(&mut up) => match n {
                Ok(n @ 1..) => {
                    let holds = up[..n].windows(word.len()).any(|window| window == word.as_bytes());
                    cuts |= holds && is_armed.swap(false, Ordering::SeqCst);
                    if server.write_all(&up[..n]).await.is_err() { return }
                }
                _ => return,
            },
            n = server.read(&mut down) => match n {
                // The server has answered, so it has committed.
                Ok(1..) if cuts => return,
                Ok(n @ 1..) => if client.write_all(&down[..n]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

async fn count(space: &dyn Namespace) -> Value {
    let rows = space
        .run(
            &Statement::new("SELECT count(*) FROM t"),
            &Bounds::default(),
        )
        .await;
    rows.expect("counts").rows.remove(0).remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_lost_and_not_repeated() {
    let database = Database::new().await;
    let proxy = Proxy::before(&database.url).await;
    let store = PgStore::open(PgOptions::new(&proxy.url))
        .await
        .expect("opens");
    let plugin = name("one");
    let space = store
        .namespace(&plugin, Access::Migrate)
        .await
        .expect("opens");
    let bounds = Bounds::default();
    space
        .run(&Statement::new("CREATE TABLE t (id INT)"), &bounds)
        .await
        .expect("creates");
    let mut transaction = space.begin(&bounds).await.expect("begins");
    let insert = Statement::new("INSERT INTO t VALUES (1)");
    transaction.run(&insert, &bounds).await.expect("inserts");
    proxy.is_armed.store(true, Ordering::SeqCst);
    let error = transaction.commit().await.expect_err("has no answer");
    assert_eq!(error.code(), "store.lost", "{error}");
    assert!(!error.is_retryable());
    assert_eq!(
        count(&*space).await,
        Value::Integer(1),
        "it took effect once"
    );

    proxy.is_armed.store(true, Ordering::SeqCst);
    let returning = Statement::new("INSERT INTO t VALUES (2) RETURNING id");
    let error = space
        .run(&returning, &bounds)
        .await
        .expect_err("has no answer");
    assert_eq!(error.code(), "store.lost", "{error}");
    assert_eq!(count(&*space).await, Value::Integer(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_ended_between_two_calls_are_replaced() {
    let database = Database::new().await;
    let store = PgStore::open(database.options()).await.expect("opens");
    let plugin = name("one");
    let space = store
        .namespace(&plugin, Access::Migrate)
        .await
        .expect("opens");
    space
        .run(
            &Statement::new("CREATE TABLE t (id INT)"),
            &Bounds::default(),
        )
        .await
        .expect("creates");
    let mut transaction = space.begin(&Bounds::default()).await.expect("begins");
    let admin = connect(&database.admin).await;
    // What a restart of the server does to every session.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    admin.query_one(end, &[]).await.expect("ends them");
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while admin
        .query_one(left, &[])
        .await
        .expect("asks")
        .get::<_, i64>(0)
        > 0
    {}
    let insert = Statement::new("INSERT INTO t VALUES (1)");
    let inside = transaction.run(&insert, &Bounds::default()).await;
    assert_eq!(
        inside.expect_err("its connection is gone").code(),
        "store.lost"
    );
    drop(transaction);
    assert_eq!(count(&*space).await, Value::Integer(0));
    let state = store.state().read(&plugin, "key").await;
    assert!(state.expect("reads").is_none());
}

/// The server drops no database while one of its processes waits for a client to log in, and the client here
/// is the thread that waits for that.
#[tokio::test]
async fn a_database_ends_while_somebody_logs_in() {
    let database = Database::new().await;
    let address = database.url.rsplit_once('@').expect("has a login").1;
    let address = address.split('/').next().expect("has a host");
    let mut half = TcpStream::connect(address).await.expect("connects");
    let who = format!("user\0{0}\0database\0{0}\0\0", database.name());
    let length = u32::try_from(who.len() + 8).expect("is short");
    let hello = [&length.to_be_bytes()[..], &[0, 3, 0, 0], who.as_bytes()].concat();
    half.write_all(&hello).await.expect("is sent");
    let mut asked = [0];
    half.read_exact(&mut asked).await.expect("is answered");
    assert_eq!(asked, *b"R", "it asks for the password");
    let before = kodex_store::suite::SuiteClock::default();
    let began_at = kodex_plugin::Clock::now(&before);
    drop(database);
    let took = kodex_plugin::Clock::now(&before) - began_at;
    assert!(took.as_secs() < 20, "{took:?}");
}
