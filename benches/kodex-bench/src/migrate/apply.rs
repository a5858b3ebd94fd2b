//! Applying a whole journal in process: one transaction for each step with its row in the ledger, against
//! refinery, which does the same, and against one transaction for everything.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use kodex::{Runtime, UpgradeOptions, store::Engine};
use sha2::{Digest as _, Sha256};
use tokio_postgres::NoTls;

use super::{Applied, BENCH, Empty, LARGE, Migrate, journal::Journal};
use crate::{
    report::{Figure, Report},
    samples::{Samples, ms},
};

impl Migrate<'_> {
    pub(super) fn apply(
        &mut self,
        report: &mut Report,
        engine: Engine,
        journal: &Journal,
    ) -> Result<Applied> {
        let mut applied = None;
        let [mut ours, mut limit, mut peer] = [const { Vec::new() }; 3].map(Samples::from);
        // A large journal takes seconds on a server.
        let (most, share) = match (engine, journal.n_named) {
            (Engine::Postgres, LARGE) => (1, 0.2),
            (Engine::Sqlite, LARGE) => (1, 0.15),
            _ => (2, 0.1),
        };
        for _ in self.size.rounds(most, share) {
            let bare = self.empty(engine)?;
            limit.push(self.at_once(engine, &bare, journal)?);
            let places = Applied {
                ours: self.empty(engine)?,
                peer: self.empty(engine)?,
            };
            ours.push(self.upgrade(engine, &places.ours, journal)?);
            peer.extend(self.refinery(engine, &places.peer, journal)?);
            applied = Some(places);
        }
        let case = format!("{}_apply_{}", engine.as_str(), journal.n_named);
        report.add(
            &Figure::lower(BENCH, &case, "ms", &ours)
                .limit("all in one transaction", &limit)
                .peer(&self.refinery_name(), &peer)
                .target("ratio_peer>=1"),
        );
        applied.context("nothing was applied")
    }

    fn upgrade(&self, engine: Engine, empty: &Empty, journal: &Journal) -> Result<f64> {
        let store = self.store(engine, empty)?;
        self.tokio.block_on(async {
            let builder = Runtime::builder().strict(true).store(store.clone());
            let runtime = builder.plugin_dir(journal.plugins()).build().await?;
            let started_at = Instant::now();
            let done = runtime.upgrade(&UpgradeOptions::default(), &|_| {}).await?;
            let took = ms(started_at.elapsed());
            let n_migrated = done.counts().migrated;
            ensure!(
                n_migrated == journal.n_steps as u64,
                "{n_migrated} steps were applied"
            );
            runtime.shutdown().await;
            store.close().await?;
            Ok(took)
        })
    }

    fn at_once(&self, engine: Engine, empty: &Empty, journal: &Journal) -> Result<f64> {
        match engine {
            Engine::Sqlite => sqlite(Path::new(&empty.place), journal),
            Engine::Postgres => self.tokio.block_on(postgres(&empty.place, journal)),
        }
    }
}

/// The files in their order: name, text, checksum.
fn files(journal: &Journal) -> Result<Vec<(String, String, String)>> {
    let mut files = Vec::with_capacity(journal.n_steps);
    for entry in fs::read_dir(journal.migrations())? {
        let file = entry?.path();
        let name = file
            .file_name()
            .context("a name")?
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&file)?;
        let sum = Sha256::digest(&text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        files.push((name, text, sum));
    }
    files.sort();
    Ok(files)
}

fn sqlite(folder: &Path, journal: &Journal) -> Result<f64> {
    let db = rusqlite::Connection::open(folder.join("bare.db"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.execute_batch(
        "CREATE TABLE ledger (id TEXT PRIMARY KEY, checksum TEXT NOT NULL) WITHOUT ROWID",
    )?;
    let started_at = Instant::now();
    db.execute_batch("BEGIN IMMEDIATE")?;
    for (name, text, sum) in files(journal)? {
        db.execute_batch(&text)?;
        db.prepare_cached("INSERT INTO ledger VALUES (?1, ?2)")?
            .execute([name, sum])?;
    }
    db.execute_batch("COMMIT")?;
    Ok(ms(started_at.elapsed()))
}

async fn postgres(url: &str, journal: &Journal) -> Result<f64> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let work = async {
        client
            .batch_execute(
                "CREATE SCHEMA bare; SET search_path = bare;
                 CREATE TABLE ledger (id text PRIMARY KEY, checksum text NOT NULL)",
            )
            .await?;
        let started_at = Instant::now();
        client.batch_execute("BEGIN").await?;
        let insert = client.prepare("INSERT INTO ledger VALUES ($1, $2)").await?;
        for (name, text, sum) in files(journal)? {
            client.batch_execute(&text).await?;
            client.execute(&insert, &[&name, &sum]).await?;
        }
        client.batch_execute("COMMIT").await?;
        Ok(ms(started_at.elapsed()))
    };
    tokio::select! {
        done = work => done,
        ended = connection => Err(ended.map_or_else(Into::into, |()| {
            anyhow::anyhow!("the server closed the connection")
        })),
    }
}
