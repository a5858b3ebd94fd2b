//! SQL for plugins, on SQLite and on Postgres.
//!
//! A [`Store`] is one place where Kodex keeps what plugins own: a [`Namespace`] of tables each, small
//! values by key ([`State`]), the ledger of applied migrations ([`Ledger`]) and durable work ([`Queue`]). The two engines
//! mirror each other file by file and pass one suite (feature `suite`).
//!
//! What keeps plugins apart is the engine, never a look at the SQL text: on SQLite a database file of
//! its own under an authoriser, on Postgres a schema with login roles of its own.
//!
//! It does not know what any table means, reads no environment and no configuration file, and runs no
//! plugin.

pub mod bounds;
pub mod door;
pub mod error;
pub mod journal;
pub mod lazy;
pub mod place;
pub mod queue;
pub mod state;
pub mod statement;
pub mod store;
pub mod value;

#[cfg(feature = "postgres")]
#[cfg_attr(
    not(feature = "tls"),
    expect(clippy::clone_on_copy, reason = "what connects is no copy with TLS")
)]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "suite")]
pub mod suite;

pub use bounds::Bounds;
pub use door::Door;
pub use error::StoreError;
pub use journal::{Applied, Ledger, Step};
pub use lazy::LazyStore;
pub use place::Place;
pub use queue::Queue;
pub use state::State;
pub use statement::Statement;
pub use store::{Access, Cursor, Engine, Finding, Namespace, Store, Table, Transaction, Work};
pub use value::{Column, Rows, Value};
