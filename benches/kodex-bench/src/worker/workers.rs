//! The other side: a worker behind the whole runtime, called as an embedder would.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use kodex::{Json, Limits, Runtime};
use tokio::task::JoinSet;

use super::{Turn, payload, plugins::Plugin};
use crate::{native::HOOK, samples::us};

/// A runtime with one active worker.
pub(super) struct Worker {
    tokio: tokio::runtime::Runtime,
    runtime: Runtime,
    payload: Json,
}

impl Worker {
    pub(super) fn start(plugin: &Plugin) -> Result<Self> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let runtime = tokio.block_on(plugin.runtime())?;
        let payload = Json::parse(&payload(), &Limits::default())?;
        Ok(Self {
            tokio,
            runtime,
            payload,
        })
    }

    /// Calls until all are answered, as many at a time as there are lanes.
    pub(super) fn turn(&self, lanes: usize, n_calls: usize) -> Result<Turn> {
        let n_each = (n_calls / lanes).max(1);
        self.tokio.block_on(async {
            let started_at = Instant::now();
            let us = if lanes == 1 {
                calls(&self.runtime, &self.payload, n_each).await?
            } else {
                let mut running = JoinSet::new();
                for _ in 0..lanes {
                    let (runtime, payload) = (self.runtime.clone(), self.payload.clone());
                    running.spawn(async move { calls(&runtime, &payload, n_each).await });
                }
                let mut us = Vec::with_capacity(n_calls);
                while let Some(ended) = running.join_next().await {
                    us.extend(ended??);
                }
                us
            };
            Ok(Turn {
                us,
                seconds: started_at.elapsed().as_secs_f64(),
            })
        })
    }

    /// The process of the plugin, once it was called.
    pub(super) fn pid(&self) -> Result<u32> {
        let plugins = self.runtime.metrics();
        plugins
            .iter()
            .find_map(|plugin| plugin.health.pid)
            .context("a worker without a process")
    }

    /// The first call, which starts the process.
    pub(super) fn first(&self) -> Result<f64> {
        let us = self
            .tokio
            .block_on(calls(&self.runtime, &self.payload, 1))?;
        Ok(us.iter().sum())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tokio.block_on(self.runtime.shutdown());
    }
}

/// One call after the other; the time of each in microseconds.
async fn calls(runtime: &Runtime, payload: &Json, n_calls: usize) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(n_calls);
    for _ in 0..n_calls {
        let payload = payload.clone();
        let started_at = Instant::now();
        let outcome = runtime.emit(HOOK, payload).await?;
        times.push(us(started_at.elapsed()));
        if let Some((plugin, error)) = outcome.failures().next() {
            bail!("{plugin} failed: {error}");
        }
        if !outcome
            .replies()
            .any(|(_, reply)| reply.text().contains("approve"))
        {
            bail!("nobody approved: {outcome:?}");
        }
    }
    Ok(times)
}
