//! A fresh database on the private server, with a role of its own that is no superuser.

use std::{
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use crate::postgres::PgOptions;
use kodex_plugin::PluginName;
use tokio_postgres::{Client, Config, NoTls};

static N_DATABASES: AtomicU32 = AtomicU32::new(0);

/// The server's address with its superuser.
#[expect(
    clippy::disallowed_methods,
    reason = "the test run says where its server is"
)]
pub fn server() -> String {
    std::env::var("KODEX_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "KODEX_TEST_POSTGRES names no server; run `cargo xtask test rust`, or \
             `cargo xtask postgres -- cargo test -p kodex-store --all-features`"
        )
    })
}

/// A plugin's name.
pub fn name(text: &str) -> PluginName {
    PluginName::new(text).expect("is a plugin name")
}

/// A connection that ends with the client.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connects");
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends when the client is dropped"
    )]
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

/// A database that is dropped with everything in it.
pub struct Database {
    /// The store's address without TLS: its role owns the database and may make roles, no more.
    pub url: String,
    /// The superuser's address of the same database.
    pub admin: String,
    name: String,
}

impl Database {
    /// A database whose role may make roles.
    pub async fn new() -> Self {
        Self::with("CREATEROLE").await
    }

    /// With a role of these attributes.
    pub async fn with(attributes: &str) -> Self {
        let name = format!(
            "test_{}_{}",
            std::process::id(),
            N_DATABASES.fetch_add(1, Ordering::Relaxed)
        );
        let server = server();
        let admin = connect(&server).await;
        admin
            .batch_execute(&format!(
                "CREATE ROLE {name} LOGIN PASSWORD 'host-password' {attributes}"
            ))
            .await
            .expect("makes a role");
        admin
            .batch_execute(&format!("CREATE DATABASE {name} OWNER {name}"))
            .await
            .expect("makes a database");
        let address = server.rsplit_once('@').expect("has a login").1;
        let address = address.split('/').next().expect("has a host");
        let superuser = server.rsplit_once('/').expect("has a database").0;
        Self {
            url: format!("postgres://{name}:host-password@{address}/{name}?sslmode=disable"),
            admin: format!("{superuser}/{name}"),
            name,
        }
    }

    /// The usual settings of a store in it.
    pub fn options(&self) -> PgOptions {
        PgOptions::new(&self.url)
    }

    /// Its name, which is that of its role too.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// How long a test waits for the end of its database. The server waits for every process of its own before
/// it drops one, also for one that waits for a client to log in; and such a client may be this very thread,
/// which then goes on only after this.
const CLEANING: Duration = Duration::from_secs(2);

impl Drop for Database {
    fn drop(&mut self) {
        // A thread, because a test's runtime cannot wait for itself here.
        let name = std::mem::take(&mut self.name);
        let (done, is_done) = mpsc::channel();
        let cleaning = std::thread::spawn(move || {
            // It goes also where the work panics.
            let _done: mpsc::Sender<()> = done;
            clean(&name);
        });
        if is_done.recv_timeout(CLEANING) == Err(RecvTimeoutError::Timeout) {
            // The thread ends it while the process lives; the private server is thrown away in any case.
            return;
        }
        let cleaned = cleaning.join();
        // A second panic would hide the first.
        assert!(
            cleaned.is_ok() || std::thread::panicking(),
            "the test's database was not dropped"
        );
    }
}

fn clean(name: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("makes a runtime");
    runtime.block_on(async {
        let server: Config = server().parse().expect("is an address");
        let (client, connection) = server.connect(NoTls).await.expect("connects");
        let work = async {
            let granted =
                "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
                           JOIN pg_roles h ON h.oid = m.member WHERE h.rolname = $1";
            let owners = client.query(granted, &[&name]).await.expect("lists");
            client
                .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
                .await
                .expect("drops the database");
            // Roles outlive their database; the owner's name leads to the others of a store.
            let tags: Vec<String> = owners
                .iter()
                .filter_map(|row| row.get::<_, String>(0).get(..14).map(str::to_owned))
                .collect();
            let all =
                "SELECT rolname FROM pg_roles WHERE left(rolname, 14) = ANY ($1) OR rolname = $2";
            for row in client.query(all, &[&tags, &name]).await.expect("lists") {
                let role: String = row.get(0);
                client
                    .batch_execute(&format!("DROP ROLE \"{role}\""))
                    .await
                    .expect("drops a role");
            }
        };
        tokio::select! {
            () = work => {}
            _ = connection => {}
        }
    });
}
