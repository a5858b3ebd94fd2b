//! Scheduled work.

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    clause::{covers_least, covers_most},
    value,
};

accesses! {
    /// What may be done with schedules.
    ScheduleAccess {
        /// Make schedules for the plugin's own jobs.
        Create = "create",
    }
}

/// Use of schedules: `schedule:create min_interval=5m`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Schedule {
    /// What may be done.
    pub accesses: Accesses<ScheduleAccess>,
    /// Most jobs with a schedule.
    pub max_jobs: Option<u64>,
    /// Shortest time between two occurrences of a job, in milliseconds.
    pub min_interval: Option<u64>,
}

impl Grammar for Schedule {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        clause.no_target()?;
        Ok(Self {
            accesses: clause.accesses()?,
            max_jobs: clause.count("max_jobs")?,
            min_interval: clause.take("min_interval").map(value::span).transpose()?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .constraint("max_jobs", self.max_jobs)
            .constraint("min_interval", self.min_interval.map(value::write_span))
    }

    fn atoms(&self) -> Vec<Self> {
        vec![self.clone()]
    }

    fn covers(&self, narrower: &Self) -> bool {
        covers_most(self.max_jobs, narrower.max_jobs)
            && covers_least(self.min_interval, narrower.min_interval)
    }
}
