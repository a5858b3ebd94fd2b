//! Python without Kodex: the standard library, and packages that keep values.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Asked, Redis};
use crate::{
    peer::Peer,
    programs::{Programs, command, script},
};

/// The peers' process.
pub(crate) struct Python {
    peer: Peer,
}

impl Python {
    /// Starts it with what it may ask.
    pub(crate) fn start(
        programs: &Programs,
        n_known: u64,
        redis: Option<&Redis>,
        postgres: Option<&str>,
    ) -> Result<Self> {
        let python = programs.python_of_peers.as_ref();
        let folder = programs.scratch.path().join("python");
        std::fs::create_dir_all(&folder)?;
        let settings = json!({
            "folder": folder,
            "known": n_known,
            "redis": redis.map(|redis| redis.port),
            "postgres": postgres,
        });
        let peer = Peer::start(
            command(python.unwrap_or(&programs.python))
                .arg(script("stored.py"))
                .arg(settings.to_string()),
        )?;
        Ok(Self { peer })
    }

    /// One of them with its version, if it is there.
    pub(crate) fn name(&self, place: &str) -> Option<String> {
        let version = self.peer.version(place)?;
        Some(match place {
            "sqlite3" | "redis" => format!("{version} from Python"),
            _ => version,
        })
    }

    /// How often it can be asked in a second; none where it is not there.
    pub(crate) fn turn(
        &mut self,
        place: &str,
        asked: Asked,
        span: Duration,
    ) -> Result<Option<f64>> {
        if self.name(place).is_none() {
            return Ok(None);
        }
        let asked = asked.as_str();
        let question = json!({"in": place, "asked": asked, "ms": span.as_secs_f64() * 1e3});
        let answer = self.peer.ask(&question)?;
        let per_second = answer["per_second"].as_f64();
        per_second.map(Some).context("a peer without a figure")
    }
}
