//! The heartbeat: what ended is applied, what was left lying is taken up, what is due is claimed and its
//! agent runs are asked for. Nothing is executed here.
//!
//! A beat may be late, skipped, doubled or cut off anywhere. Each step is a transaction of its own whose
//! changes name what they have seen, and a run is asked for under the key of its occurrence, so a beat
//! that begins where another stopped asks for the same run again and gets the same one.

mod apply;
mod claims;
mod request;
mod stale;
mod start;
mod zones;

use kodex_plugin::{Host, HostError, Json, agent::Agent, db::Db, host::LogLevel};
use serde_json::{Value, json};

use crate::{moment::Ms, settings::Settings, store::Tables};

pub use request::request;

/// Runs, and rows of what had none, that are forgotten in one beat.
const N_FORGOTTEN: usize = 200;

/// One heartbeat.
pub struct Beat<'b> {
    /// The plugin's tables.
    pub db: &'b Db,
    /// The plugin's agent runs.
    pub agent: &'b Agent,
    /// Where it says what it had to leave.
    pub host: &'b dyn Host,
    /// What the operator set.
    pub settings: &'b Settings,
    /// The right to ask for runs.
    pub ticket: u64,
    /// The host's clock at its beginning.
    pub now_ms: Ms,
}

/// What a heartbeat did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Ends of agent runs that were applied.
    pub n_applied: usize,
    /// Claims, new ones and taken over.
    pub n_claimed: usize,
    /// Agent runs that were asked for and accepted.
    pub n_started: usize,
}

impl Beat<'_> {
    /// Does what is due.
    ///
    /// # Errors
    /// The database failed. What was done before stays, the rest is done by the next one.
    pub async fn run(&self) -> Result<Done, HostError> {
        self.follow_zones().await?;
        let n_runs = self.settings.n_runs;
        let n_applied = self.apply_ends(n_runs).await?;
        let mut claims = self.take_over(n_runs.saturating_sub(n_applied)).await?;
        let left = n_runs.saturating_sub(n_applied + claims.len());
        claims.extend(self.claim(left).await?);
        let n_claimed = claims.len();
        let n_started = self.start(claims).await?;
        let before = self.now_ms.saturating_sub(self.settings.kept_ms);
        self.tables().forget_runs(before, N_FORGOTTEN).await?;
        self.tables().forget_passed(before, N_FORGOTTEN).await?;
        Ok(Done {
            n_applied,
            n_claimed,
            n_started,
        })
    }

    fn tables(&self) -> Tables<'_> {
        Tables(self.db)
    }

    fn warn(&self, message: &str, fields: Value) {
        self.host
            .log(LogLevel::Warning, message, &Json::from(fields));
    }

    /// Says which rows could not be read. What they hold is not repeated: it may be private.
    fn warn_malformed(&self, what: &str, ids: &[String]) {
        if !ids.is_empty() {
            let message = format!("records of {what} do not read; they were set apart unchanged");
            self.warn(&message, json!({"ids": ids}));
        }
    }
}
