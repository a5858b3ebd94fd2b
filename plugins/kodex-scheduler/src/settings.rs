//! What an operator may set, read once from the plugin's configuration.

use jiff::SignedDuration;
use kodex_plugin::{Json, PluginError, wire::work::bounds::N_DISPATCHES};
use serde::Deserialize;

use crate::{
    cadence::{Terms, Zone},
    moment::{DAY, Ms},
};

/// What an operator may set.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Runs that one heartbeat starts or finishes.
    pub n_runs: usize,
    /// The zone of schedules that name none.
    pub zone: Zone,
    /// How closely occurrences of tasks may follow each other that a model makes.
    pub tool_distance: SignedDuration,
    /// The same for people.
    pub people_distance: SignedDuration,
    /// How long runs are kept after their end, in milliseconds.
    pub kept_ms: Ms,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_runs: 10,
            zone: Zone::utc(),
            tool_distance: SignedDuration::from_hours(24),
            people_distance: SignedDuration::from_mins(1),
            kept_ms: 90 * DAY,
        }
    }
}

/// The configuration as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    runs_per_heartbeat: u32,
    timezone: Option<String>,
    tool_min_interval_minutes: u32,
    min_interval_minutes: u32,
    keep_runs_days: u32,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            runs_per_heartbeat: 10,
            timezone: None,
            tool_min_interval_minutes: 24 * 60,
            min_interval_minutes: 1,
            keep_runs_days: 90,
        }
    }
}

impl Settings {
    /// Reads the configuration of the plugin.
    ///
    /// # Errors
    /// `schedule.config` names the key that is wrong.
    pub fn read(config: &Json) -> Result<Self, PluginError> {
        let wrong =
            |text: String| PluginError::new(kodex_plugin::Failure::Raised, "schedule.config", text);
        if config.value().is_null() {
            return Ok(Self::default());
        }
        let raw: Raw = config.to().map_err(|error| wrong(error.to_string()))?;
        if !(1..=N_DISPATCHES).contains(&raw.runs_per_heartbeat) {
            let text = format!("runs_per_heartbeat must be from 1 to {N_DISPATCHES}");
            return Err(wrong(text));
        }
        if raw.min_interval_minutes == 0 || raw.tool_min_interval_minutes == 0 {
            let text = "min_interval_minutes and tool_min_interval_minutes are at least 1";
            return Err(wrong(text.to_owned()));
        }
        if raw.keep_runs_days < 8 {
            // A run that is gone can no longer say that its occurrence has had it.
            return Err(wrong("keep_runs_days is at least 8".to_owned()));
        }
        let zone = match raw.timezone.as_deref().map(Zone::new) {
            Some(zone) => zone.map_err(|error| wrong(error.to_string()))?,
            None => Zone::utc(),
        };
        let minutes = |n: u32| SignedDuration::from_mins(n.into());
        Ok(Self {
            n_runs: usize::try_from(raw.runs_per_heartbeat).unwrap_or(1),
            zone,
            tool_distance: minutes(raw.tool_min_interval_minutes),
            people_distance: minutes(raw.min_interval_minutes),
            kept_ms: Ms::from(raw.keep_runs_days) * DAY,
        })
    }

    /// The terms for what a model makes.
    #[must_use]
    pub fn tool_terms(&self) -> Terms {
        Terms {
            zone: self.zone.clone(),
            min_distance: self.tool_distance,
        }
    }

    /// The terms for what people make.
    #[must_use]
    pub fn people_terms(&self) -> Terms {
        Terms {
            zone: self.zone.clone(),
            min_distance: self.people_distance,
        }
    }
}
