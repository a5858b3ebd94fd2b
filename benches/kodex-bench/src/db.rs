//! Statements on plugins' own tables: what one costs a native plugin and one in Python, and what of that
//! the driver itself costs.

use anyhow::Result;
use kodex::store::Engine;

use crate::{
    programs::Programs,
    report::{Figure, Report},
    samples::Samples,
    size::Size,
    stored::{self, Asked, N_KNOWN, Python, Server, World},
};

const BENCH: &str = "db";

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let n_known = size.count(N_KNOWN) as u64;
    let server = Server::find();
    let python_database = server.as_ref().map(|server| server.database("python"));
    let python_database = python_database.transpose()?;
    let url = python_database
        .as_ref()
        .map(|database| database.url.as_str());
    let mut python = Python::start(programs, n_known, None, url)?;
    for engine in stored::engines(server.as_ref()) {
        let mut world = World::new(engine, server.as_ref(), programs, n_known)?;
        for asked in [Asked::Read, Asked::Insert] {
            measure(report, &mut world, &mut python, engine, asked, size)?;
        }
    }
    Ok(())
}

/// Microseconds for each statement, one after the other.
fn measure(
    report: &mut Report,
    world: &mut World,
    python: &mut Python,
    engine: Engine,
    asked: Asked,
    size: Size,
) -> Result<()> {
    let span = stored::span(size);
    let place = match engine {
        Engine::Sqlite => "sqlite3",
        Engine::Postgres => "psycopg",
    };
    let [
        mut ours,
        mut limit,
        mut more,
        mut worker,
        mut worker_more,
        mut peer,
    ] = [const { Vec::new() }; 6].map(Samples::from);
    let us = |per_second: f64| 1e6 / per_second;
    world.native(asked, 1, span)?;
    world.worker(asked, span)?;
    for _ in size.rounds(20, 0.22) {
        let bare = us(world.bare(asked, 1, span)?);
        let native = us(world.native(asked, 1, span)?);
        let in_python = us(world.worker(asked, span)?);
        limit.push(bare);
        ours.push(native);
        more.push(native - bare);
        worker.push(in_python);
        worker_more.push(in_python - bare);
        peer.extend(python.turn(place, asked, span)?.map(us));
    }
    let figure = |case: &str, values: &Samples| {
        let case = format!("{}_{}{case}", engine.as_str(), asked.as_str());
        Figure::lower(BENCH, &case, "us", values)
    };
    let name = python.name(place).unwrap_or_else(|| place.to_owned());
    report.add(&figure("", &ours).limit(world.limit(), &limit));
    report.add(&figure("_overhead", &more));
    let worker = figure("_worker", &worker).limit(world.limit(), &limit);
    report.add(&worker.peer(&name, &peer));
    report.add(&figure("_worker_overhead", &worker_more));
    Ok(())
}
