//! Stage five: what happened. Reads, never decides; it cannot fail.

mod doctor;
mod explain;
mod ledger;
mod metrics;

pub use doctor::{Doctor, DoctorPlugin, Finding};
pub use explain::{Explanation, Reason, Why};
pub use ledger::{Record, Status};
pub use metrics::{KeyMetrics, PluginMetrics};

pub(crate) use doctor::doctor;
pub(crate) use explain::explain;
pub(crate) use metrics::metrics;
