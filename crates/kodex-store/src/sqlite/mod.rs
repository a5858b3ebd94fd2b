//! SQLite: files on this machine, no set-up.
//!
//! A store is a folder: `kodex.db` holds the store's own tables (state, leases, counters), and
//! `plugins/<name>.db` one plugin's tables with its ledger beside them, because a step and its row must be
//! one transaction and WAL mode has no atomic commit over two files. The folder is made at the first write,
//! for this user alone; opening for reading never creates anything.
//!
//! Every file has threads of its own that own the connections: several readers, one writer, and some for
//! what takes long. Several processes may use a folder at once; SQLite's locks keep them apart.
//!
//! Durability: a commit of state or of a plugin's rows survives the end of the process at any point; the
//! last ones before a power failure may be lost, never half of one (`synchronous = NORMAL`). Ledger, schema
//! and renames reach the disk before they are reported (`FULL`); [`SqliteOptions::full_sync`] asks that of all.

mod adopt;
mod backup;
mod check;
mod cursor;
mod error;
mod file;
mod functions;
mod group;
mod guard;
mod here;
mod ledger;
mod namespace;
mod open;
mod presence;
mod queue;
mod rename;
mod run;
mod state;
mod store;
mod tables;
mod thread;
mod transaction;
mod value;
mod watch;

pub use backup::restore;
pub use store::{SqliteOptions, SqliteStore};
