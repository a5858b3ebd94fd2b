//! Migrations: comparing a journal with what was applied, and applying all of it, in process and as a whole
//! command, against the tools that a project would take instead.
//!
//! Everyone has the same steps, one table with one index each, in the form that it wants.

mod apply;
mod command;
mod journal;
mod verify;

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use kodex::store::{
    Engine, Store,
    postgres::{PgOptions, PgStore},
    sqlite::{SqliteOptions, SqliteStore},
};
use serde_json::json;

use crate::{
    peer::Peer,
    programs::{Programs, command},
    report::Report,
    size::Size,
    stored::{self, Server},
};
use journal::Journal;

const BENCH: &str = "migrate";
/// How many steps a large journal and a usual one have.
const LARGE: usize = 1_000;
const USUAL: usize = 100;

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let server = Server::find();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut bench = Migrate {
        tokio,
        refinery: refinery(programs)?,
        server,
        programs,
        size,
        n_made: 0,
    };
    let journals = [USUAL, LARGE].map(|n_steps| Journal::new(programs, n_steps, size));
    let [usual, large] = journals;
    let (usual, large) = (usual?, large?);
    for engine in stored::engines(bench.server.as_ref()) {
        for journal in [&usual, &large] {
            let applied = bench.apply(report, engine, journal)?;
            bench.verify(report, engine, journal, &applied)?;
            bench.commands(report, engine, journal)?;
        }
    }
    Ok(())
}

struct Migrate<'a> {
    tokio: tokio::runtime::Runtime,
    refinery: Option<Peer>,
    server: Option<Server>,
    programs: &'a Programs,
    size: Size,
    n_made: usize,
}

/// An empty place for one turn of one side.
struct Empty {
    /// A folder or an address.
    place: String,
    _database: Option<stored::Database>,
}

/// Places where everything was applied.
struct Applied {
    ours: Empty,
    peer: Empty,
}

impl Migrate<'_> {
    /// A place where nothing was applied yet.
    fn empty(&mut self, engine: Engine) -> Result<Empty> {
        self.n_made += 1;
        let name = format!("migrate{}", self.n_made);
        if engine == Engine::Sqlite {
            let folder = self.programs.scratch.path().join(name);
            std::fs::create_dir_all(&folder)?;
            let place = folder.to_str().context("a temporary folder in UTF-8")?;
            return Ok(Empty {
                place: place.to_owned(),
                _database: None,
            });
        }
        let server = self.server.as_ref().context("a server for Postgres")?;
        let database = server.database(&name)?;
        Ok(Empty {
            place: database.url.clone(),
            _database: Some(database),
        })
    }

    /// Kodex' store in an empty place.
    fn store(&self, engine: Engine, empty: &Empty) -> Result<Arc<dyn Store>> {
        self.tokio.block_on(async {
            let store: Arc<dyn Store> = match engine {
                Engine::Sqlite => {
                    let folder = Path::new(&empty.place).join("store");
                    let options = SqliteOptions::new(folder, Arc::new(kodex::SystemClock));
                    Arc::new(SqliteStore::open(options).await?)
                }
                Engine::Postgres => Arc::new(PgStore::open(PgOptions::new(&empty.place)).await?),
            };
            Ok(store)
        })
    }

    /// One turn of refinery in a place: milliseconds; none where it is not installed.
    fn refinery(
        &mut self,
        engine: Engine,
        empty: &Empty,
        journal: &Journal,
    ) -> Result<Option<f64>> {
        let Some(refinery) = &mut self.refinery else {
            return Ok(None);
        };
        let place = match engine {
            Engine::Sqlite => format!("{}/refinery.db", empty.place),
            Engine::Postgres => empty.place.clone(),
        };
        let question = json!({
            "engine": engine.as_str(),
            "place": place,
            "files": journal.refinery(),
        });
        let answer = refinery.ask(&question)?;
        answer["ms"]
            .as_f64()
            .map(Some)
            .context("refinery gave no time")
    }

    fn refinery_name(&self) -> String {
        let named = self
            .refinery
            .as_ref()
            .and_then(|peer| peer.version("refinery"));
        named.unwrap_or_else(|| "refinery".to_owned())
    }
}

/// The small program around refinery, where it was built.
fn refinery(programs: &Programs) -> Result<Option<Peer>> {
    let Some(program) = &programs.refinery else {
        crate::note("refinery is not installed; it is left out");
        return Ok(None);
    };
    Peer::start(&mut command(program)).map(Some)
}
