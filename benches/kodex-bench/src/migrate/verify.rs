//! Comparing a journal with its ledger when nothing is to be done, in process.

use std::{fs, path::Path, time::Instant};

use anyhow::{Result, ensure};
use kodex::store::{
    Engine, Store,
    journal::{plan, read},
};
use sha2::{Digest as _, Sha256};

use super::{Applied, BENCH, LARGE, Migrate, journal::Journal};
use crate::{
    report::{Figure, Report},
    samples::{Samples, ms},
};

impl Migrate<'_> {
    pub(super) fn verify(
        &mut self,
        report: &mut Report,
        engine: Engine,
        journal: &Journal,
        applied: &Applied,
    ) -> Result<()> {
        let store = self.store(engine, &applied.ours)?;
        // Connections are made at the first use.
        self.tokio.block_on(once(&*store, journal))?;
        let [mut ours, mut limit, mut peer] = [const { Vec::new() }; 3].map(Samples::from);
        for _ in self.size.rounds(40, 0.05) {
            limit.push(hash(&journal.migrations())?);
            ours.push(self.tokio.block_on(once(&*store, journal))?);
            peer.extend(self.refinery(engine, &applied.peer, journal)?);
        }
        self.tokio.block_on(store.close())?;
        let case = format!("{}_verify_{}", engine.as_str(), journal.n_named);
        let figure = Figure::lower(BENCH, &case, "ms", &ours)
            .limit("reading and hashing the files", &limit)
            .peer(&self.refinery_name(), &peer);
        report.add(&if journal.n_named == LARGE {
            figure.target("ratio_limit<=1.3")
        } else {
            figure
        });
        Ok(())
    }
}

/// What a host does before a plugin gets its tables, and an upgrade that has nothing to do.
async fn once(store: &dyn Store, journal: &Journal) -> Result<f64> {
    let started_at = Instant::now();
    let applied = store.ledger().applied(&journal.plugin).await?;
    let steps = read(&journal.plugin, &journal.migrations(), store.engine()).map_err(wrong)?;
    let n_pending = plan(&journal.plugin, &steps, &applied)
        .map_err(wrong)?
        .pending
        .len();
    let took = ms(started_at.elapsed());
    ensure!(
        n_pending == 0 && applied.len() == journal.n_steps,
        "the journal is not applied"
    );
    Ok(took)
}

fn wrong(problems: Vec<kodex::store::journal::Problem>) -> anyhow::Error {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    anyhow::anyhow!(texts.join("; "))
}

/// The least that telling a changed file from an unchanged one can be.
fn hash(folder: &Path) -> Result<f64> {
    let started_at = Instant::now();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    for file in files {
        std::hint::black_box(Sha256::digest(fs::read(file)?));
    }
    Ok(ms(started_at.elapsed()))
}
