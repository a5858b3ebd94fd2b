//! TLS to the server: who is believed, what is refused, and that nothing goes around it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex_store::{
    Access, Bounds, Statement, Store, StoreError, Value,
    postgres::{PgOptions, PgStore},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use kodex_store::suite::database::{Database, connect, name};

/// What a client sends first when it wants TLS: a length of 8 and a number that is no version.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The first byte of a handshake.
const HANDSHAKE: u8 = 22;

/// A database on a server whose certificate is for `localhost`.
struct Stand {
    database: Database,
    certificates: PathBuf,
}

impl Stand {
    async fn new() -> Self {
        let database = Database::new().await;
        let admin = connect(&database.admin).await;
        let row = admin.query_one("SHOW ssl_ca_file", &[]).await;
        let authority = PathBuf::from(row.expect("a setting").get::<_, String>(0));
        assert!(
            authority.is_absolute(),
            "the server speaks no TLS; `cargo xtask postgres` starts one that does"
        );
        Self {
            database,
            certificates: authority.parent().expect("a folder").to_owned(),
        }
    }

    /// The store's address under a name of the host; `{}` is the folder of certificates.
    fn url(&self, host: &str, query: &str) -> String {
        let (url, _) = self.database.url.split_once('?').expect("has a query");
        let query = query.replace("{}", &self.certificates.display().to_string());
        url.replace("@127.0.0.1:", &format!("@{host}:")) + "?" + &query
    }

    /// How many connections to the database there are, under TLS and without it.
    async fn links(&self) -> (i64, i64) {
        let admin = connect(&self.database.admin).await;
        let count = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl)
                     FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                     WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()";
        let row = admin.query_one(count, &[]).await.expect("counts");
        (row.get(0), row.get(1))
    }
}

/// Opens a store and uses it: its own role and a plugin's.
async fn used(url: &str) -> Result<PgStore, StoreError> {
    let store = PgStore::open(PgOptions::new(url)).await?;
    let space = store.namespace(&name("one"), Access::Write).await?;
    let (two, bounds) = (Statement::new("SELECT 2"), Bounds::default());
    let rows = space.run(&two, &bounds).await?.rows;
    assert_eq!(rows, [[Value::Integer(2)]]);
    Ok(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_is_what_there_is() {
    let stand = Stand::new().await;
    for (host, query, is_encrypted) in [
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={}/ca.crt",
            true,
        ),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={}/ca.crt&channel_binding=require",
            true,
        ),
        ("localhost", "sslmode=verify-ca&sslrootcert={}/ca.crt", true),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert={}/ca.crt", true),
        // The server's own certificate instead of its authority's.
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={}/server.crt",
            true,
        ),
        ("127.0.0.1", "sslmode=require", true),
        ("127.0.0.1", "sslmode=prefer", true),
        ("127.0.0.1", "", true),
        ("127.0.0.1", "sslmode=disable", false),
    ] {
        let store = used(&stand.url(host, query)).await;
        let store = store.unwrap_or_else(|error| panic!("{host} {query}: {error}"));
        let (encrypted, plain) = stand.links().await;
        let (there, other) = match is_encrypted {
            true => (encrypted, plain),
            false => (plain, encrypted),
        };
        assert!(
            there >= 2 && other == 0,
            "{host} {query}: {encrypted} and {plain}"
        );
        store.close().await.expect("closes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_believed_hears_no_password() {
    let stand = Stand::new().await;
    let empty = tempfile::NamedTempFile::new().expect("a file");
    let nothing = format!("sslmode=verify-ca&sslrootcert={}", empty.path().display());
    let unreachable = "store.unreachable";
    for (host, query, code, part) in [
        (
            "localhost",
            "sslmode=verify-full&sslrootcert={}/other.crt",
            unreachable,
            "sslrootcert",
        ),
        (
            "localhost",
            "sslmode=verify-ca&sslrootcert={}/other.crt",
            unreachable,
            "sslrootcert",
        ),
        (
            "localhost",
            "sslmode=require&sslrootcert={}/other.crt",
            unreachable,
            "sslrootcert",
        ),
        (
            "localhost",
            "sslmode=verify-full&sslrootcert=system",
            unreachable,
            "sslrootcert",
        ),
        (
            "127.0.0.1",
            "sslmode=verify-full&sslrootcert={}/ca.crt",
            unreachable,
            "not valid for name",
        ),
        (
            "127.0.0.1",
            "sslmode=verify-full&sslrootcert={}/server.crt",
            unreachable,
            "not valid for name",
        ),
        (
            "localhost",
            "sslmode=verify-ca&sslrootcert={}/none.crt",
            "store.unsupported",
            "none.crt",
        ),
        ("localhost", &nothing, "store.unsupported", "no certificate"),
        (
            "localhost",
            "sslmode=verify-ca",
            "store.place",
            "sslrootcert=FILE",
        ),
        (
            "localhost",
            "sslmode=disable&channel_binding=require",
            unreachable,
            "channel binding",
        ),
    ] {
        let error = used(&stand.url(host, query)).await.map(drop);
        let error = error.expect_err(&format!("{host} {query}"));
        assert_eq!(error.code(), code, "{host} {query}: {error}");
        let text = error.to_string();
        assert!(text.contains(part), "{host} {query}: {text}");
        assert!(!text.contains("host-password"), "{text}");
    }
    assert_eq!(stand.links().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_it_lets_nobody_in_without() {
    let stand = Stand::new().await;
    let admin = connect(&stand.database.admin).await;
    // Another test may be making the role at the same moment.
    let group = "DO $$ BEGIN CREATE ROLE tls_only; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$";
    admin.batch_execute(group).await.expect("makes a role");
    let member = format!("GRANT tls_only TO {}", stand.database.name());
    admin.batch_execute(&member).await.expect("grants");
    let refused = PgStore::open(PgOptions::new(stand.url("127.0.0.1", "sslmode=disable"))).await;
    let refused = refused.map(drop).expect_err("refused");
    assert_eq!(refused.code(), "store.unreachable");
    assert!(refused.to_string().contains("no encryption"), "{refused}");
    used(&stand.url("127.0.0.1", "sslmode=prefer"))
        .await
        .expect("comes in under TLS");
}

/// Stands before the server and keeps what each connection sends first.
struct Proxy {
    port: u16,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// One that says that the server has no TLS, or lets the server answer.
    async fn before(stand: &Stand, has_tls: bool) -> Self {
        let (_, rest) = stand.database.url.rsplit_once('@').expect("has a login");
        let address = rest.split('/').next().expect("has a host").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let firsts = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.expect("connects");
                links.spawn(link(client, server, has_tls, Arc::clone(&firsts)));
            }
        });
        Self {
            port,
            seen,
            _tasks: tasks,
        }
    }

    fn url(&self, stand: &Stand, query: &str) -> String {
        let url = stand.url("localhost", query);
        let (login, rest) = url.rsplit_once("@localhost:").expect("has a host");
        let (_, path) = rest.split_once('/').expect("has a database");
        format!("{login}@localhost:{}/{path}", self.port)
    }

    fn seen(&self) -> Vec<Vec<u8>> {
        self.seen.lock().expect("no panic").clone()
    }
}

async fn link(
    mut client: TcpStream,
    mut server: TcpStream,
    has_tls: bool,
    firsts: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let mut first = vec![0; 8];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    if !has_tls && first == ASKS_FOR_TLS {
        if client.write_all(b"N").await.is_err() {
            return;
        }
    } else {
        server.write_all(&first).await.expect("the server listens");
        if first == ASKS_FOR_TLS {
            let answer = server.read_u8().await.expect("the server answers");
            client.write_u8(answer).await.expect("the client waits");
            first.push(client.read_u8().await.expect("the client goes on"));
            server.write_u8(first[8]).await.expect("the server listens");
        }
    }
    firsts.lock().expect("no panic").push(first);
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_is_cancelled_under_tls_too() {
    let stand = Stand::new().await;
    let proxy = Proxy::before(&stand, true).await;
    let url = proxy.url(&stand, "sslmode=verify-full&sslrootcert={}/ca.crt");
    let store = used(&url).await.expect("opens");
    let space = store
        .namespace(&name("one"), Access::Write)
        .await
        .expect("opens");
    let n_before = proxy.seen().len();
    let bounds = Bounds {
        timeout: Duration::from_millis(100),
        ..Bounds::default()
    };
    let slow = Statement::new("SELECT count(*) FROM pg_sleep(60)");
    let error = space.run(&slow, &bounds).await.expect_err("is cancelled");
    assert_eq!(error.code(), "db.timeout");
    let seen = proxy.seen();
    assert_eq!(seen.len(), n_before + 1, "cancelling takes a connection");
    let mut encrypted = ASKS_FOR_TLS.to_vec();
    encrypted.push(HANDSHAKE);
    assert!(seen.iter().all(|first| *first == encrypted), "{seen:?}");
    // The connection is as good as before.
    let two = Statement::new("SELECT 2");
    let rows = space.run(&two, &Bounds::default()).await;
    rows.expect("runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_server_has_no_tls_the_mode_decides() {
    let stand = Stand::new().await;
    let proxy = Proxy::before(&stand, false).await;
    used(&proxy.url(&stand, "sslmode=prefer"))
        .await
        .expect("goes on without");
    assert!(proxy.seen().iter().all(|first| *first == ASKS_FOR_TLS));
    let refused = PgStore::open(PgOptions::new(proxy.url(&stand, "sslmode=require"))).await;
    let refused = refused.map(drop).expect_err("refused");
    assert_eq!(refused.code(), "store.unreachable");
    assert!(
        refused.to_string().contains("does not support TLS"),
        "{refused}"
    );
}
