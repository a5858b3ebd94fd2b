//! huey on SQLite: what somebody with Python and no server would take instead.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    peer::Peer,
    programs::{Programs, command, script},
    samples::Samples,
};

/// The peer's process, where it is installed.
pub(super) struct Huey {
    peer: Option<Peer>,
}

impl Huey {
    pub(super) fn start(programs: &Programs) -> Result<Self> {
        let Some(python) = &programs.python_of_peers else {
            return Ok(Self { peer: None });
        };
        let folder = programs.scratch.path().join("huey");
        std::fs::create_dir_all(&folder)?;
        let peer = Peer::start(command(python).arg(script("jobs.py")).arg(folder))?;
        let peer = Some(peer).filter(|peer| peer.version("huey").is_some());
        Ok(Self { peer })
    }

    pub(super) fn name(&self) -> String {
        let version = self.peer.as_ref().and_then(|peer| peer.version("huey"));
        version.unwrap_or_else(|| "huey".to_owned())
    }

    fn ask(&mut self, question: &Value) -> Result<Option<Value>> {
        match &mut self.peer {
            Some(peer) => peer.ask(question).map(Some),
            None => Ok(None),
        }
    }

    /// How many tasks in a second are added, one at a time.
    pub(super) fn added(&mut self, n_tasks: usize) -> Result<Option<f64>> {
        let answer = self.ask(&json!({"asked": "add", "n": n_tasks}))?;
        answer.map(|answer| per_second(&answer)).transpose()
    }

    /// How many tasks in a second so many workers do.
    pub(super) fn worked(&mut self, n_workers: usize, n_tasks: usize) -> Result<Option<f64>> {
        let answer = self.ask(&json!({"asked": "work", "workers": n_workers, "n": n_tasks}))?;
        answer.map(|answer| per_second(&answer)).transpose()
    }

    /// How long each of so many tasks waits for a worker, in milliseconds.
    pub(super) fn waits(&mut self, n_tasks: usize) -> Result<Samples> {
        let Some(answer) = self.ask(&json!({"asked": "wait", "n": n_tasks}))? else {
            return Ok(Samples::default());
        };
        let waits = answer["ms"].as_array().context("a peer without times")?;
        let waits: Vec<_> = waits.iter().filter_map(Value::as_f64).collect();
        Ok(waits.into())
    }
}

fn per_second(answer: &Value) -> Result<f64> {
    let per_second = answer["per_second"].as_f64();
    per_second.context("a peer without a figure")
}
