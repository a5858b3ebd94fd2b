//! Kodex's scheduler: an ordinary plugin that starts agent runs by the clock.
//!
//! It uses nothing but the contract: tables of its own, the host's clock, and agent runs that it asks for in
//! its heartbeat. It executes nothing.
//!
//! - [`cadence`]: what a caller means by a schedule, and what comes next. Pure.
//! - [`task`], [`run`]: the records and the only ways in which they change. Pure.
//! - [`claim`]: whether an occurrence may run now. Pure.
//! - [`passed`]: what is said of occurrences that have no run. Pure.
//! - [`store`]: rows in and out.
//! - [`beat`]: the heartbeat, which ties these together.
//! - [`tools`]: what models may do, each inside the conversation that calls.
//! - [`people`]: what people may do, as hooks `scheduler.*` that only a host can emit.
//! - [`report`]: what the dashboard shows.
//!
//! An occurrence is created once, by its key; it is claimed once for each claim's token; its agent run is
//! asked for under the same key however often that takes, so there is one. Nothing that was accepted is
//! lost: an occurrence that has no run is told of in a row with its reason, and counted.
//!
//! ```
//! use kodex_plugin::Plugin;
//! let scheduler = kodex_scheduler::SchedulerPlugin::new()?;
//! assert_eq!(scheduler.manifest().name.as_str(), "kodex-scheduler");
//! # Ok::<(), kodex_plugin::NameError>(())
//! ```

pub mod beat;
pub mod cadence;
pub mod claim;
pub mod desk;
pub mod moment;
pub mod passed;
pub mod people;
mod plugin;
pub mod record;
pub mod refusal;
pub mod report;
pub mod run;
pub mod settings;
pub mod steps;
pub mod store;
pub mod task;
pub mod tools;

pub use plugin::{MIGRATIONS, NAME, SchedulerPlugin};
pub use refusal::CODES;
