//! The Postgres server of a run, and fresh databases on it.
//!
//! `cargo xtask bench` starts a private server and says where it is, in the variable that the tests use.
//! What is made on it is dropped, because a server may outlive this program.

use anyhow::{Context, Result};
use tokio_postgres::NoTls;

/// Where the server is.
const VARIABLE: &str = "KODEX_TEST_POSTGRES";
/// Nobody reaches the server from elsewhere.
const PASSWORD: &str = "bench";

/// A server and its superuser.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    url: String,
}

impl Server {
    /// The server of this run. Without one, what needs it is left out.
    pub(crate) fn find() -> Option<Self> {
        let url = std::env::var(VARIABLE).ok();
        if url.is_none() {
            crate::note(&format!(
                "{VARIABLE} names no Postgres server: what runs on one is left out; \
                 `cargo xtask bench` starts one"
            ));
        }
        url.map(|url| Self { url })
    }

    /// Makes an empty database, whose owner is no superuser and may make roles.
    pub(crate) fn database(&self, name: &str) -> Result<Database> {
        let name = format!("bench_{name}_{}", std::process::id());
        let role = format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' CREATEROLE");
        let database = format!("CREATE DATABASE {name} OWNER {name}");
        execute(&self.url, &[&role, &database])?;
        let (_, address) = self
            .url
            .rsplit_once('@')
            .context("a login in the address")?;
        let address = address.split('/').next().unwrap_or(address);
        Ok(Database {
            // What is compared with it speaks no TLS either.
            url: format!("postgres://{name}:{PASSWORD}@{address}/{name}?sslmode=disable"),
            server: self.clone(),
            name,
        })
    }
}

/// A database with its owner. Both are dropped with this value, with the roles that the owner made.
#[derive(Debug)]
pub(crate) struct Database {
    /// The owner's address.
    pub(crate) url: String,
    server: Server,
    name: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = &self.name;
        let database = format!("DROP DATABASE {name} WITH (FORCE)");
        // The names of a store's roles begin alike; the owner was granted some of them.
        let roles = format!(
            "DO $$ DECLARE made text; BEGIN
                FOR made IN SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_auth_members m ON true
                    JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles h ON h.oid = m.member
                    WHERE h.rolname = '{name}' AND left(r.rolname, 14) = left(g.rolname, 14)
                LOOP EXECUTE format('DROP ROLE %I', made); END LOOP;
            END $$"
        );
        let owner = format!("DROP ROLE {name}");
        if let Err(error) = execute(&self.server.url, &[&database, &roles, &owner]) {
            crate::note(&format!("the database {name} is still there: {error:#}"));
        }
    }
}

/// Runs statements one by one on a connection of its own. A thread, because whoever drops a database may
/// be inside of a runtime, which cannot wait there.
fn execute(url: &str, statements: &[&str]) -> Result<()> {
    let work = || -> Result<()> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        tokio.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            let work = async {
                for statement in statements {
                    let done = client.batch_execute(statement).await;
                    done.with_context(|| (*statement).to_owned())?;
                }
                Ok(())
            };
            tokio::select! {
                done = work => done,
                ended = connection => Err(ended.map_or_else(Into::into, |()| {
                    anyhow::anyhow!("the server closed the connection")
                })),
            }
        })
    };
    let ended = std::thread::scope(|scope| scope.spawn(work).join());
    ended.map_err(|_| anyhow::anyhow!("the thread that asks the server died"))?
}
