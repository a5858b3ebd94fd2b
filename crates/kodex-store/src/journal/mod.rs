//! A plugin's journal: its ordered steps, the ledger of those applied, and the pure plan between them.

mod ledger;
mod plan;
mod step;
#[cfg(test)]
mod tests;

pub use ledger::{Applied, Ledger, Progress};
pub use plan::{CODES, Plan, Problem, Rule, plan};
pub use step::{Step, StepKind, checksum, linked, read};
