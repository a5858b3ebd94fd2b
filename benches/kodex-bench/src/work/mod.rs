//! Durable work: jobs in a second, each claimed under a lease with a fencing token and ended, against the
//! same driver with claims written by hand, and against queues that a project would take instead.

mod peer;
mod postgres;
mod raw;
mod sqlite;

use anyhow::Result;

use crate::{programs::Programs, report::Report, size::Size};

const BENCH: &str = "work";
/// What a job carries, in every queue that is measured.
const PAYLOAD: &str = r#"{"k":"0123456789012345678901234567890123456789"}"#;

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    sqlite::run(report, size, programs)?;
    postgres::run(report, size, programs)
}
