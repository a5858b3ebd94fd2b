//! The seam: what both engines offer.

use std::{future::Future, pin::Pin, sync::Arc};

use kodex_plugin::PluginName;

use crate::{
    Bounds, Column, Ledger, Queue, Rows, State, Statement, StoreError,
    state::{Adopted, Lease, Numbers},
};

/// A pending answer of the store. Dropping it cancels what has not happened yet: a statement that is
/// running in the engine is stopped there.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Which engine a store runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Files on this machine.
    Sqlite,
    /// A server that speaks Postgres' protocol.
    Postgres,
}

impl Engine {
    /// The word in file names and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What a handle on a namespace may do. The engine enforces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read rows.
    Read,
    /// Read and write rows. No change of the schema.
    Write,
    /// Change the schema too. Only the upgrade holds this.
    Migrate,
}

/// One place where plugins' tables, state and ledgers live.
pub trait Store: Send + Sync + 'static {
    /// Which engine it is.
    fn engine(&self) -> Engine;

    /// Where it is, for people. Never holds a password.
    fn place(&self) -> &str;

    /// Opens a plugin's namespace, creating it at the first use when `access` is not [`Access::Read`].
    ///
    /// It does not look at the journal; whoever hands the namespace to a plugin checks that first.
    fn namespace<'a>(
        &'a self,
        plugin: &'a PluginName,
        access: Access,
    ) -> Work<'a, Arc<dyn Namespace>>;

    /// Small values by key.
    fn state(&self) -> &dyn State;

    /// The ledgers of applied steps.
    fn ledger(&self) -> &dyn Ledger;

    /// Durable work.
    fn queue(&self) -> &dyn Queue;

    /// The plugin's locks that come after `after` in byte order, held or not; at most `limit`.
    fn leases<'a>(
        &'a self,
        plugin: &'a PluginName,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Lease>>;

    /// How far the numbers of the plugin's values and locks have come.
    fn numbers<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Numbers>;

    /// Keeps what a plugin had in another store, all or nothing. Done again it changes nothing; numbers
    /// of this store that are higher stay.
    fn adopt<'a>(&'a self, plugin: &'a PluginName, adopted: &'a Adopted<'a>) -> Work<'a, ()>;

    /// Every plugin that has a namespace or state here, in byte order.
    fn plugins(&self) -> Work<'_, Vec<PluginName>>;

    /// The plugin's own tables with their columns, by name; views, indexes and the store's own tables apart.
    fn tables<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Table>>;

    /// Looks at the whole store and says what is wrong with it; an empty list when nothing is.
    fn check(&self) -> Work<'_, Vec<Finding>>;

    /// Fails when the store is not there or takes no writes: it writes a row of its own, which nobody reads. A
    /// store that nobody has made yet is there.
    fn ping(&self) -> Work<'_, ()>;

    /// Waits for running work and closes every connection. Later calls fail with [`StoreError::Closed`].
    fn close(&self) -> Work<'_, ()>;
}

/// The tables of one plugin.
pub trait Namespace: Send + Sync + 'static {
    /// Runs one statement in a transaction of its own.
    fn run<'a>(&'a self, statement: &'a Statement, bounds: &'a Bounds) -> Work<'a, Rows>;

    /// Opens a result that is read in pages, on a snapshot of its own. The timeout holds per page.
    fn open<'a>(
        &'a self,
        statement: &'a Statement,
        bounds: &'a Bounds,
    ) -> Work<'a, Box<dyn Cursor>>;

    /// Begins a transaction. On SQLite it holds the namespace's only writer until it ends. It waits for
    /// it until `bounds` are over, and it is rolled back by the store when `bounds.until` passes.
    fn begin<'a>(&'a self, bounds: &'a Bounds) -> Work<'a, Box<dyn Transaction>>;
}

/// A running transaction. Dropping it rolls back.
pub trait Transaction: Send {
    /// Runs one statement inside. After an error the transaction can only be rolled back, to a
    /// savepoint or as a whole, on both engines.
    fn run<'a>(&'a mut self, statement: &'a Statement, bounds: &'a Bounds) -> Work<'a, Rows>;

    /// Opens one more level: a savepoint.
    fn save(&mut self) -> Work<'_, ()>;

    /// Ends the innermost level and keeps its changes for the level around it.
    fn release(&mut self) -> Work<'_, ()>;

    /// Ends the innermost level and undoes its changes. Also mends a failed transaction.
    fn undo(&mut self) -> Work<'_, ()>;

    /// Makes everything durable.
    fn commit(self: Box<Self>) -> Work<'static, ()>;

    /// Undoes everything.
    fn rollback(self: Box<Self>) -> Work<'static, ()>;
}

/// A large result, read in pages. Dropping it closes it in the engine.
pub trait Cursor: Send {
    /// The next rows, at most `n_rows`; fewer when the bytes of `bounds` are reached first; none at the end.
    fn next<'a>(&'a mut self, n_rows: usize, bounds: &'a Bounds) -> Work<'a, Rows>;
}

/// A table of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// The names of its primary key's columns in order; empty when it has none.
    pub primary_key: Vec<String>,
    /// The tables that its foreign keys point to.
    pub references: Vec<String>,
}

/// Something that [`Store::check`] found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable code, for example `store.integrity`.
    pub code: &'static str,
    /// Whose it is; none for the store's own tables.
    pub plugin: Option<PluginName>,
    /// What is wrong and what to do.
    pub message: String,
}
