//! The Postgres dialect: one database that many nodes share.
//!
//! The schema `kodex` holds the store's own tables; every plugin has a schema `kodex_p_<name>` and
//! login roles of its own (see `roles`). The store relies on nothing that servers of the same protocol
//! lack: no advisory locks, and `LISTEN` only to be faster.
//!
//! What is not kept apart: the catalogs show every role the names of all schemas, tables and roles.

mod adopt;
mod answer;
mod check;
mod cursor;
mod error;
mod hold;
mod ledger;
mod namespace;
mod open;
mod param;
mod pool;
mod queue;
mod rename;
mod roles;
mod room;
mod state;
mod tables;
mod tasks;
mod time;
mod tls;
mod transaction;
mod value;
mod verb;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use kodex_plugin::{Clock, PluginName};
use tokio::{runtime::Handle, time::Instant};
use tokio_postgres::Config;

use self::{
    ledger::PgLedger,
    namespace::PgNamespace,
    open::{Seal, Server, Tries},
    pool::{Arg, Line, Lines, NoLine, Shared, Trouble},
    queue::PgQueue,
    roles::{Home, Part},
    state::PgState,
    tasks::Tasks,
};
use crate::{
    Access, Engine, Finding, Ledger, Namespace, State, Store, StoreError, Table, Work,
    state::{Adopted, Lease, Numbers},
};

/// How often idle connections are looked for.
const LOOK: Duration = Duration::from_secs(15);
/// How long closing waits for running work.
const CLOSING: Duration = Duration::from_secs(30);

/// What keeps plugins apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Login roles of their own. The store's role needs `CREATEROLE`.
    #[default]
    Roles,
    /// Only the search path, on connections of the store's own role. A guard against mistakes of plugins
    /// that are trusted; a plugin that wants to can reach every other one's tables.
    SchemaOnly,
}

/// How a store is opened.
#[derive(Clone)]
pub struct PgOptions {
    /// `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub url: String,
    /// What decides about time; without one the server's clock does, so that nodes need not agree.
    pub clock: Option<Arc<dyn Clock>>,
    /// Most connections of the store's own role.
    pub n_connections: usize,
    /// Most connections of each plugin's reader and writer.
    pub n_plugin_connections: usize,
    /// What keeps plugins apart.
    pub isolation: Isolation,
    /// Whether statements are prepared under names. Off for poolers that hand out a server connection per
    /// transaction; then an answer without rows has no columns either, and types without a form of their
    /// own are refused.
    pub prepare: bool,
    /// Most bytes of one plugin's tables; checked now and then, so a plugin may be over it for a moment.
    pub quota_bytes: Option<u64>,
    /// How long to wait for a connection, making it included.
    pub wait: Duration,
    /// How long a plugin's connection stays open unused.
    pub idle: Duration,
}

impl PgOptions {
    /// The usual settings for a place.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            clock: None,
            n_connections: 10,
            n_plugin_connections: 4,
            isolation: Isolation::default(),
            prepare: true,
            quota_bytes: None,
            wait: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for PgOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgOptions")
            .field("isolation", &self.isolation)
            .finish_non_exhaustive()
    }
}

/// A store in a Postgres database.
pub struct PgStore {
    inner: Arc<Inner>,
    state: PgState,
    ledger: PgLedger,
    queue: PgQueue,
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore")
            .field("place", &self.inner.shared.place)
            .finish_non_exhaustive()
    }
}

/// Which connections: whose, as which role, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Door {
    /// None for the role without rights.
    plugin: Option<PluginName>,
    part: Part,
    stay: Stay,
}

/// How long a connection is away: those that plugins hold must not take all that others need for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stay {
    /// For one statement.
    Short,
    /// For a transaction or a cursor.
    Long,
}

/// What the parts of a store share.
struct Inner {
    options: PgOptions,
    config: Config,
    server: Server,
    seal: Seal,
    shared: Shared,
    host: Lines,
    homes: Mutex<HashMap<PluginName, Home>>,
    pools: Mutex<HashMap<Door, Lines>>,
}

impl PgStore {
    /// Connects, looks at the server, and makes the core schema where there is none.
    ///
    /// Call it inside a tokio runtime; the store's connections live there.
    ///
    /// # Errors
    /// [`StoreError::BadPlace`], [`StoreError::Unreachable`], [`StoreError::Unsupported`] and
    /// [`StoreError::Newer`] say what to do.
    pub async fn open(options: PgOptions) -> Result<Self, StoreError> {
        let open::Address {
            mut config,
            shown,
            tls,
        } = open::address(&options.url)?;
        let runtime = Handle::try_current().map_err(|_| {
            StoreError::Internal("the store was opened outside of a tokio runtime".to_owned())
        })?;
        let place: Arc<str> = shown.into();
        let tasks = Arc::new(Tasks::new(runtime));
        let (prepare, wait) = (options.prepare, options.wait);
        let shared = Shared::new(Arc::clone(&place), tasks, prepare, wait, tls);
        let host = Lines::new(config.clone(), options.n_connections.max(1), shared.clone())?;
        let mut line = open::line(&host, &place).await?;
        let server = Server::look(&mut line)
            .await
            .map_err(|trouble| error::own(&place, trouble, "looking at the server"))?;
        drop(line);
        server.judge(&place, options.isolation == Isolation::Roles)?;
        let seal = open::seal(&host, &place, &server).await?;
        // Left out, it would be the name of the role, which differs from plugin to plugin.
        config.dbname(&server.database);
        let inner = Arc::new(Inner {
            options,
            config,
            server,
            seal,
            shared,
            host,
            homes: Mutex::default(),
            pools: Mutex::default(),
        });
        let look = look_for_idle(Arc::downgrade(&inner), inner.shared.closing());
        inner.shared.tasks.spawn(look);
        Ok(Self {
            state: PgState::new(Arc::clone(&inner)),
            ledger: PgLedger::new(Arc::clone(&inner)),
            queue: PgQueue::new(Arc::clone(&inner))?,
            inner,
        })
    }
}

/// Closes connections that nobody uses, until the store is gone.
async fn look_for_idle(store: Weak<Inner>, closing: impl Future<Output = ()>) {
    let mut closing = std::pin::pin!(closing);
    // Ends with the store, which closes or is dropped.
    while tokio::time::timeout(LOOK, &mut closing).await.is_err() {
        let Some(inner) = store.upgrade() else {
            return;
        };
        let mut pools = inner.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, lines| lines.shrink(inner.options.idle));
    }
}

impl Inner {
    fn place(&self) -> &str {
        &self.shared.place
    }

    /// The clock's reading, where the store has one.
    fn now_ms(&self) -> Option<i64> {
        let clock = self.options.clock.as_ref()?;
        Some(i64::try_from(clock.unix_ms()).unwrap_or(i64::MAX))
    }

    /// A connection of the store's own role.
    async fn line(&self) -> Result<Line, StoreError> {
        open::line(&self.host, self.place()).await
    }

    fn own(&self, trouble: Trouble, during: &'static str) -> StoreError {
        error::own(self.place(), trouble, during)
    }

    /// Where a plugin's tables are, if it has any place yet.
    async fn find(&self, plugin: &PluginName) -> Result<Option<Home>, StoreError> {
        if self.shared.is_closed() {
            return Err(StoreError::Closed);
        }
        if let Some(home) = self
            .homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(plugin)
        {
            return Ok(Some(home.clone()));
        }
        let mut line = self.line().await?;
        let rows = line
            .rows(
                "SELECT namespace, roles FROM kodex.plugins WHERE plugin = $1",
                &[Arg::Text(plugin.as_str())],
            )
            .await
            .map_err(|trouble| self.own(trouble, "looking for a namespace"))?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let home = Home {
            schema: row.get(0),
            roles: row.get(1),
        };
        drop(line);
        if home.roles.is_none() && self.options.isolation == Isolation::Roles {
            return self.make(plugin).await.map(Some);
        }
        self.keep(plugin, home.clone());
        Ok(Some(home))
    }

    /// Where a plugin's tables are; makes the place at the first use.
    async fn home(&self, plugin: &PluginName) -> Result<Home, StoreError> {
        match self.find(plugin).await? {
            Some(home) => Ok(home),
            None => self.make(plugin).await,
        }
    }

    fn keep(&self, plugin: &PluginName, home: Home) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        homes.insert(plugin.clone(), home);
    }

    /// Makes a plugin's schema, ledger and roles, or repairs what is there.
    async fn make(&self, plugin: &PluginName) -> Result<Home, StoreError> {
        let tag = (self.options.isolation == Isolation::Roles).then_some(self.seal.tag.as_str());
        let home = Home::of(plugin, tag);
        let mut tries = Tries::default();
        loop {
            let mut line = self.line().await?;
            let made = self.make_on(&mut line, plugin, &home).await;
            drop(line);
            let Err(trouble) = made else { break };
            tries
                .again(trouble, self.place(), "making a namespace")
                .await?;
        }
        self.keep(plugin, home.clone());
        Ok(home)
    }

    async fn make_on(
        &self,
        line: &mut Line,
        plugin: &PluginName,
        home: &Home,
    ) -> Result<(), Trouble> {
        line.begin().await?;
        let schema = roles::quoted(&home.schema);
        line.batch(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema};
             CREATE TABLE IF NOT EXISTS {schema}.kodex_journal (
                 ordinal bigint PRIMARY KEY,
                 id text NOT NULL UNIQUE,
                 checksum text NOT NULL,
                 applied_at_ms bigint NOT NULL);
             CREATE TABLE IF NOT EXISTS {schema}.kodex_progress (
                 id text PRIMARY KEY,
                 progress text NOT NULL)"
        ))
        .await?;
        roles::ensure(line, home, &self.seal.secret).await?;
        roles::hand_over(line, home).await?;
        line.rows(
            "INSERT INTO kodex.plugins (plugin, namespace, roles) VALUES ($1, $2, $3)
             ON CONFLICT (plugin) DO UPDATE SET roles = coalesce(excluded.roles, plugins.roles)",
            &[
                Arg::Text(plugin.as_str()),
                Arg::Text(&home.schema),
                Arg::MaybeText(home.roles.as_deref()),
            ],
        )
        .await?;
        line.commit().await
    }

    /// The connections behind a door.
    fn lines(&self, door: Door, home: &Home) -> Result<Lines, StoreError> {
        if self.shared.is_closed() {
            return Err(StoreError::Closed);
        }
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = pools.get(&door) {
            return Ok(lines.clone());
        }
        let mut config = self.config.clone();
        let role = match &door.plugin {
            Some(_) => home.role(door.part),
            None => Some(roles::nobody(&self.seal.tag)),
        };
        match (self.options.isolation, role) {
            (Isolation::Roles, Some(role)) => {
                config
                    .password(roles::password(&self.seal.secret, &role))
                    .user(role);
                // Options of the host would stand above the role's own search path.
                config.options("");
            }
            _ => {
                let read_only = if door.part == Part::Reader {
                    "on"
                } else {
                    "off"
                };
                config.options(format!(
                    "-c search_path={} -c default_transaction_read_only={read_only}",
                    home.schema
                ));
            }
        }
        let lines = Lines::new(
            config,
            self.options.n_plugin_connections.max(1),
            self.shared.clone(),
        )?;
        pools.insert(door, lines.clone());
        Ok(lines)
    }

    /// A connection of a plugin's role. One that cannot log in is repaired once: a role may change its own
    /// password.
    async fn plugin_line(
        &self,
        plugin: &PluginName,
        home: &Home,
        part: Part,
        stay: Stay,
        deadline: Option<Instant>,
    ) -> Result<Line, StoreError> {
        let door = Door {
            plugin: Some(plugin.clone()),
            part,
            stay,
        };
        let none = match self.lines(door.clone(), home)?.line(deadline).await {
            Ok(line) => return Ok(line),
            Err(NoLine::Refused(error))
                if is_login(&error) && self.options.isolation == Isolation::Roles =>
            {
                self.make(plugin).await?;
                match self.lines(door, home)?.line(deadline).await {
                    Ok(line) => return Ok(line),
                    Err(none) => none,
                }
            }
            Err(none) => none,
        };
        Err(self.no_line(none, plugin))
    }

    /// A connection that may do nothing, for a plugin that has no place yet.
    async fn nobody(
        &self,
        plugin: &PluginName,
        stay: Stay,
        deadline: Option<Instant>,
    ) -> Result<Line, StoreError> {
        let door = Door {
            plugin: None,
            part: Part::Reader,
            stay,
        };
        let home = Home::of(plugin, None);
        let none = match self.lines(door.clone(), &home)?.line(deadline).await {
            Ok(line) => return Ok(line),
            Err(NoLine::Refused(error))
                if is_login(&error) && self.options.isolation == Isolation::Roles =>
            {
                self.make_nobody().await?;
                match self.lines(door, &home)?.line(deadline).await {
                    Ok(line) => return Ok(line),
                    Err(none) => none,
                }
            }
            Err(none) => none,
        };
        Err(self.no_line(none, plugin))
    }

    async fn make_nobody(&self) -> Result<(), StoreError> {
        let role = roles::nobody(&self.seal.tag);
        let mut tries = Tries::default();
        loop {
            let mut line = self.line().await?;
            let made = roles::ensure_nobody(&mut line, &role, &self.seal.secret).await;
            drop(line);
            let Err(trouble) = made else { return Ok(()) };
            tries.again(trouble, self.place(), "making a role").await?;
        }
    }

    fn no_line(&self, none: NoLine, plugin: &PluginName) -> StoreError {
        match none {
            NoLine::Refused(error) if is_login(&error) => StoreError::Unsupported {
                place: self.place().to_owned(),
                problem: format!(
                    "the role of plugin {plugin} cannot log in ({}); let roles with passwords in by pg_hba.conf or the pooler, \
                     or open the store with isolation = \"schema\"",
                    error.code().map_or("", |code| code.code())
                ),
            },
            none => error::no_line(self.place(), none, &format!("plugin {plugin}")),
        }
    }

    /// Closes a plugin's connections and forgets where it is.
    fn forget(&self, plugin: &PluginName) {
        self.homes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(plugin);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|door, lines| {
            let is_its = door.plugin.as_ref() == Some(plugin);
            if is_its {
                lines.close();
            }
            !is_its
        });
    }
}

/// Wrong password, no such role, or no entry that lets it in.
fn is_login(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("28"))
}

impl Store for PgStore {
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    fn place(&self) -> &str {
        self.inner.place()
    }

    fn namespace<'a>(
        &'a self,
        plugin: &'a PluginName,
        access: Access,
    ) -> Work<'a, Arc<dyn Namespace>> {
        Box::pin(async move {
            let home = match access {
                Access::Read => self.inner.find(plugin).await?,
                Access::Write | Access::Migrate => Some(self.inner.home(plugin).await?),
            };
            let namespace = PgNamespace::new(Arc::clone(&self.inner), plugin.clone(), access, home);
            Ok(Arc::new(namespace) as Arc<dyn Namespace>)
        })
    }

    fn state(&self) -> &dyn State {
        &self.state
    }

    fn ledger(&self) -> &dyn Ledger {
        &self.ledger
    }

    fn queue(&self) -> &dyn crate::Queue {
        &self.queue
    }

    fn leases<'a>(
        &'a self,
        plugin: &'a PluginName,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Lease>> {
        Box::pin(adopt::leases(&self.inner, plugin, after, limit))
    }

    fn numbers<'a>(&'a self, _: &'a PluginName) -> Work<'a, Numbers> {
        Box::pin(adopt::numbers(&self.inner))
    }

    fn adopt<'a>(&'a self, plugin: &'a PluginName, adopted: &'a Adopted<'a>) -> Work<'a, ()> {
        Box::pin(adopt::adopt(&self.inner, plugin, adopted))
    }

    fn plugins(&self) -> Work<'_, Vec<PluginName>> {
        Box::pin(tables::plugins(&self.inner))
    }

    fn tables<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Table>> {
        Box::pin(tables::tables(&self.inner, plugin))
    }

    fn check(&self) -> Work<'_, Vec<Finding>> {
        Box::pin(check::check(&self.inner))
    }

    fn ping(&self) -> Work<'_, ()> {
        Box::pin(self.queue.ping())
    }

    fn close(&self) -> Work<'_, ()> {
        Box::pin(async move {
            let inner = &self.inner;
            inner.shared.close(CLOSING).await;
            inner.host.close();
            self.queue.close();
            let pools = {
                let mut pools = inner.pools.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *pools)
            };
            pools.values().for_each(Lines::close);
            inner.shared.tasks.finish(pool::GRACE).await;
            Ok(())
        })
    }
}
