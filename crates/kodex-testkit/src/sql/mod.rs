//! A real database behind the fake host: SQLite files in a temporary folder, reached through the same
//! door as in a host, after the plugin's own migrations.
//!
//! It is slower than the rest of this crate, so it is behind the feature `sql`. [`FakeHost::keep_in`] puts
//! another store in its place, for what must also hold on Postgres or between several hosts.

mod database;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use kodex_plugin::{
    HostError, Json, Plugin, PluginName,
    db::Rows,
    wire::store::{DbQuery, DbRows, StepCounts, method},
};
use kodex_store::{
    Store, StoreError,
    journal::{self, Plan},
};

pub(crate) use self::database::Database;
use self::step::Stepping;
use crate::FakeHost;

/// A migration that [`FakeHost::upgrade`] applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedStep {
    /// The file's name.
    pub file: String,
    /// What a data step said it did; one scanned and migrated for SQL.
    pub counts: StepCounts,
}

/// With the feature `sql`.
impl FakeHost {
    /// Gives the plugin its database: applies those of its migrations that are not applied yet, as
    /// `kodex upgrade` does. Everything is checked before the first statement. A data step is answered
    /// by the plugin's own code, which is activated for it with an empty configuration and stopped
    /// afterwards.
    ///
    /// The host keeps the database of one plugin, in a folder that goes away with its last clone. Leases
    /// of transactions run on the host's [`HandClock`](crate::HandClock).
    ///
    /// # Errors
    /// The code and the text that `kodex upgrade` would show. What was applied before stays applied.
    ///
    /// ```
    /// use kodex_plugin::Define;
    /// use kodex_testkit::FakeHost;
    /// use serde_json::json;
    ///
    /// let plugin = Define::new("notes", "0.1.0", "Keeps notes.")
    ///     .database(&[("0001_notes.sql", "CREATE TABLE notes (text TEXT NOT NULL);")])
    ///     .build()?;
    /// let host = FakeHost::new();
    /// assert_eq!(host.upgrade(&*plugin)?[0].file, "0001_notes.sql");
    /// assert_eq!(host.upgrade(&*plugin)?, []);
    ///
    /// let added = host.sql("INSERT INTO notes VALUES (?)", json!(["milk"]))?;
    /// assert_eq!(added.n_changed(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upgrade(&self, plugin: &dyn Plugin) -> Result<Vec<AppliedStep>, HostError> {
        self.upgrade_until(plugin, None)
    }

    /// As [`FakeHost::upgrade`], up to and with one file: for the test of a migration, which fills the
    /// tables as they were before it and then applies the rest.
    ///
    /// # Errors
    /// As [`FakeHost::upgrade`]; `upgrade.baseline` when no pending migration has this name.
    ///
    /// ```
    /// use kodex_plugin::Define;
    /// use kodex_testkit::FakeHost;
    /// use serde_json::json;
    ///
    /// let plugin = Define::new("notes", "0.1.0", "Keeps notes.")
    ///     .database(&[
    ///         ("0001_notes.sql", "CREATE TABLE notes (text TEXT NOT NULL);"),
    ///         ("0002_length.sql", "ALTER TABLE notes ADD COLUMN length INTEGER;
    ///                              UPDATE notes SET length = length(text);"),
    ///     ])
    ///     .build()?;
    /// let host = FakeHost::new();
    /// host.upgrade_to(&*plugin, "0001_notes.sql")?;
    /// host.sql("INSERT INTO notes VALUES ('milk')", json!([]))?;
    /// host.upgrade(&*plugin)?;
    /// let rows = host.sql("SELECT length FROM notes", json!([]))?;
    /// assert_eq!(rows.raw().rows[0][0], json!(4).into());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upgrade_to(
        &self,
        plugin: &dyn Plugin,
        file: &str,
    ) -> Result<Vec<AppliedStep>, HostError> {
        self.upgrade_until(plugin, Some(file))
    }

    /// Keeps the plugin's tables in a store of the test's own instead of files in a temporary folder: on
    /// Postgres, or in one that several hosts share. To be said before the first upgrade. The future is
    /// awaited inside the small runtime in which everything of the store then happens; the store is not
    /// closed with the host.
    ///
    /// # Errors
    /// The store's, and `db.refused` when the host has a database already.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kodex_plugin::{Define, Plugin};
    /// use kodex_store::{Store, sqlite::{SqliteOptions, SqliteStore}};
    /// use kodex_testkit::FakeHost;
    ///
    /// let plugin = Define::new("notes", "0.1.0", "Keeps notes.")
    ///     .database(&[("0001_notes.sql", "CREATE TABLE notes (text TEXT NOT NULL);")])
    ///     .build()?;
    /// let folder = tempfile::tempdir()?;
    /// for n_applied in [1, 0] {
    ///     let host = FakeHost::new();
    ///     let options = SqliteOptions::new(folder.path().join("store"), Arc::new(host.clock().clone()));
    ///     host.keep_in(&plugin.manifest().name, async {
    ///         Ok(Arc::new(SqliteStore::open(options).await?) as Arc<dyn Store>)
    ///     })?;
    ///     assert_eq!(host.upgrade(&*plugin)?.len(), n_applied);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_in(
        &self,
        plugin: &PluginName,
        store: impl Future<Output = Result<Arc<dyn Store>, StoreError>>,
    ) -> Result<(), HostError> {
        let made = Database::on(plugin.clone(), self.clock().clone(), store)?;
        self.database.set(made).map_err(|_| {
            let text = format!("this host has a database already; say where {plugin} keeps its tables before the first upgrade");
            HostError::new("db.refused", text)
        })
    }

    /// Runs one statement on the plugin's tables for the test itself: to fill them, and to look at what
    /// the plugin wrote. It is not among what the plugin [asked](FakeHost::asked).
    ///
    /// # Errors
    /// As [`Db::query`](kodex_plugin::db::Db::query); `testkit.call.stuck` after
    /// [`CALL_LIMIT`](crate::CALL_LIMIT), for example while a transaction of the plugin is open.
    pub fn sql(&self, sql: &str, params: impl Into<Json>) -> Result<Rows, HostError> {
        let query = DbQuery {
            sql: sql.to_owned(),
            params: Some(params.into()),
            ..DbQuery::default()
        };
        let form = |error: serde_json::Error| HostError::new("host.form", error.to_string());
        let params = Json::of(&query).map_err(form)?;
        let database = self.database.get().ok_or_else(behind)?;
        let answer = database.wait(database.serve(method::DB_QUERY, &params))??;
        Ok(Rows::from(answer.to::<DbRows>().map_err(form)?))
    }

    fn upgrade_until(
        &self,
        plugin: &dyn Plugin,
        last: Option<&str>,
    ) -> Result<Vec<AppliedStep>, HostError> {
        let name = &plugin.manifest().name;
        let database = self.made(name)?;
        let engine = database.store.engine();
        let steps = journal::linked(name, plugin.migrations(), engine).map_err(broken)?;
        let applied = database.wait(database.store.ledger().applied(name))??;
        let Plan {
            mut newest,
            mut pending,
            ..
        } = journal::plan(name, &steps, &applied).map_err(broken)?;
        if let Some(last) = last {
            let at = pending.iter().position(|step| step.file == last);
            let at = at.ok_or_else(|| {
                let text = format!("plugin {name}: there is no pending migration {last}");
                HostError::new("upgrade.baseline", text)
            })?;
            pending.truncate(at + 1);
        }
        let mut stepping = Stepping::new(self, database, plugin);
        let mut done = Vec::with_capacity(pending.len());
        for step in pending {
            done.push(stepping.apply(step, newest.as_deref())?);
            newest = Some(step.id(name));
        }
        Ok(done)
    }

    /// The plugin's database; a new one at the first time.
    fn made(&self, plugin: &PluginName) -> Result<&Database, HostError> {
        let database = match self.database.get() {
            Some(database) => database,
            None => {
                let made = Database::new(plugin.clone(), self.clock().clone())?;
                self.database.get_or_init(|| made)
            }
        };
        if database.plugin == *plugin {
            return Ok(database);
        }
        let text = format!(
            "this host keeps the database of plugin {}; give {plugin} a host of its own",
            database.plugin
        );
        Err(HostError::new("db.refused", text))
    }
}

pub(crate) fn behind() -> HostError {
    let text = "no migrations are applied; call `FakeHost::upgrade` before the plugin asks for its database";
    HostError::new("journal.behind", text)
}

fn broken(problems: Vec<journal::Problem>) -> HostError {
    let code = problems
        .first()
        .map_or("journal.unreadable", journal::Problem::code);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    HostError::new(code, texts.join("; "))
}
