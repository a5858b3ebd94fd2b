//! Queues that a project would take instead, in processes of their own.

use anyhow::Result;
use serde_json::json;

use crate::{
    peer::Peer,
    programs::{Programs, command, script},
    size::Size,
    stored::{Database, Server},
};

/// The peers of this run; each is left out where it is not installed.
pub(super) struct Peers {
    node: Option<Peer>,
    python: Option<Peer>,
    _databases: Vec<Database>,
}

impl Peers {
    /// A quick run has the fastest of them alone.
    pub(super) fn start(programs: &Programs, server: &Server, size: Size) -> Result<Self> {
        let mut databases = Vec::new();
        let mut url = |name: &str| -> Result<String> {
            let database = server.database(name)?;
            let url = database.url.clone();
            databases.push(database);
            Ok(url)
        };
        let all = size == Size::Full;
        let node = match (&programs.node, &programs.node_of_peers) {
            (Some(node), Some(folder)) => {
                let settings = json!({"url": url("work_node")?, "all": all});
                let mut command = command(node);
                command.arg(script("work.mjs")).arg(folder);
                Some(Peer::start(command.arg(settings.to_string()))?)
            }
            _ => None,
        };
        let python = match (&programs.python_of_peers, all) {
            (Some(python), true) => {
                let settings = json!({"url": url("work_python")?});
                let mut command = command(python);
                command.arg(script("work.py"));
                Some(Peer::start(command.arg(settings.to_string()))?)
            }
            _ => None,
        };
        Ok(Self {
            node,
            python,
            _databases: databases,
        })
    }

    fn of(&mut self, place: &str) -> Option<&mut Peer> {
        let peer = match place {
            "procrastinate" => self.python.as_mut(),
            _ => self.node.as_mut(),
        };
        peer.filter(|peer| peer.version(place).is_some())
    }

    /// One of them with its version; its bare name where it is not there.
    pub(super) fn name(&mut self, place: &str) -> String {
        let version = self.of(place).and_then(|peer| peer.version(place));
        version.unwrap_or_else(|| place.to_owned())
    }

    /// How many jobs are done in a second, and how many were added in one; none where it is not there.
    pub(super) fn turn(
        &mut self,
        place: &str,
        n_workers: usize,
        is_batched: bool,
        n: usize,
    ) -> Result<Option<(f64, f64)>> {
        let Some(peer) = self.of(place) else {
            return Ok(None);
        };
        let question = json!({"in": place, "workers": n_workers, "batched": is_batched, "jobs": n});
        let answer = peer.ask(&question)?;
        let figure = |name: &str| answer[name].as_f64();
        Ok(figure("done").zip(figure("added")))
    }

    /// How long after a job was added it was started, in milliseconds: the median and the slowest of a hundred.
    pub(super) fn started(&mut self, place: &str, n: usize) -> Result<Option<(f64, f64)>> {
        let Some(peer) = self.of(place) else {
            return Ok(None);
        };
        let answer = peer.ask(&json!({"in": place, "started": n}))?;
        Ok(answer["p50"].as_f64().zip(answer["p99"].as_f64()))
    }
}
