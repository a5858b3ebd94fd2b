//! Scheduled tasks: made with a clock that stands in the past, so that a run of seconds has occurrences,
//! although people may ask for one a minute at the most.

use std::path::Path;

use anyhow::Result;

use super::{clock::WallClock, world::World};

/// How long ago they are made, and how far their occurrences are apart.
const AGO_MS: i64 = 200 * 60 * 1000;
const EVERY: &str = "20m";
/// What happens to occurrences that were missed, and to those that come while a run goes on. Of the first one
/// none may be passed over.
const TASKS: [(&str, &str); 3] = [("all", "allow"), ("one", "skip"), ("skip_late", "queue")];

pub(super) fn add(world: &World, store: &str, library: Option<&Path>) -> Result<()> {
    let clock = library.map(|library| WallClock::new(world.root(), "past", library));
    let mut clock = clock.transpose()?;
    if let Some(clock) = &mut clock {
        clock.set(-AGO_MS)?;
    } else {
        println!("no occurrences: a run of seconds has none without libfaketime");
    }
    let env = clock.as_ref().map(WallClock::env).unwrap_or_default();
    for (catch_up, overlap) in TASKS {
        let to = format!("session:{catch_up}");
        let args = ["schedule", "add", catch_up, "--every", EVERY, "--to", &to];
        let how = ["--catch-up", catch_up, "--overlap", overlap];
        world.run(store, &[&args[..], &how[..]].concat(), &env)?;
    }
    Ok(())
}
