//! Where the nodes' store is: a folder, or a database of its own on the server that the tests have.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use super::{door::Door, watch::Watch, world::World};

/// Where the server is.
const VARIABLE: &str = "KODEX_TEST_POSTGRES";

/// A store that is gone with this value.
pub(super) enum Place {
    Files(String),
    Server {
        /// The server, with a database that is always there.
        server: String,
        /// The database.
        name: String,
        address: SocketAddr,
    },
}

impl Place {
    pub(super) async fn new(engine: &str, world: &World) -> Result<Self> {
        match engine {
            "sqlite" => {
                let folder = world.root().join("store");
                Ok(Self::Files(format!("sqlite:{}", folder.display())))
            }
            "postgres" => {
                let server = std::env::var(VARIABLE)
                    .with_context(|| format!("{VARIABLE} names no server"))?;
                let (_, rest) = server.rsplit_once('@').context("a server's address")?;
                let (address, _) = rest.split_once('/').context("a database")?;
                let address = address.parse().context("an address of this machine")?;
                let name = format!("kodex_chaos_{}", std::process::id());
                execute(&server, &format!("CREATE DATABASE {name}")).await?;
                Ok(Self::Server {
                    server,
                    name,
                    address,
                })
            }
            other => bail!("there is no engine {other:?}; there are sqlite and postgres"),
        }
    }

    /// As `KODEX_DATABASE_URL` names it.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Files(url) => url.clone(),
            Self::Server { server, name, .. } => {
                let (server, _) = server.rsplit_once('/').unwrap_or((server, ""));
                format!("{server}/{name}")
            }
        }
    }

    /// A door to it, and its address behind the door; none for a folder.
    pub(super) fn door(&self) -> Result<Option<(Door, String)>> {
        let Self::Server { address, .. } = self else {
            return Ok(None);
        };
        let door = Door::to(*address)?;
        let url = self
            .url()
            .replace(&address.to_string(), &door.address.to_string());
        // The door reads along.
        let url = format!("{url}?sslmode=disable");
        Ok(Some((door, url)))
    }

    pub(super) fn watch(&self) -> Watch {
        match self {
            Self::Files(url) => Watch::files(url.trim_start_matches("sqlite:").as_ref()),
            Self::Server { .. } => Watch::Server(self.url()),
        }
    }

    /// Removes the database.
    pub(super) async fn remove(&self) -> Result<()> {
        let Self::Server { server, name, .. } = self else {
            return Ok(());
        };
        execute(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await
    }
}

async fn execute(server: &str, sql: &str) -> Result<()> {
    let client = super::watch::server(server).await?;
    client
        .batch_execute(sql)
        .await
        .with_context(|| sql.to_owned())
}
