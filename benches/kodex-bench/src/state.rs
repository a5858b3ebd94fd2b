//! Plugins' values by key: gets and sets in a second, from a native plugin and from one in Python,
//! against the same driver bare, and against what a plugin in Python would use without Kodex.

use anyhow::Result;
use kodex::store::Engine;

use crate::{
    programs::Programs,
    report::{Figure, Report},
    samples::Samples,
    size::Size,
    stored::{self, Asked, N_KNOWN, Python, Redis, Server, World},
};

const BENCH: &str = "state";
/// How many callers there are in the second half of a turn.
const LANES: u64 = 8;

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let n_known = size.count(N_KNOWN) as u64;
    let server = Server::find();
    let redis = Redis::start(programs);
    let python_database = server.as_ref().map(|server| server.database("python"));
    let python_database = python_database.transpose()?;
    let url = python_database
        .as_ref()
        .map(|database| database.url.as_str());
    let mut python = Python::start(programs, n_known, redis.as_ref(), url)?;
    for engine in stored::engines(server.as_ref()) {
        let mut world = World::new(engine, server.as_ref(), programs, n_known)?;
        for asked in [Asked::Get, Asked::Set] {
            let turns = measure(&mut world, &mut python, engine, asked, size)?;
            turns.figures(report, engine, asked, world.limit(), &python);
        }
    }
    Ok(())
}

/// What a plugin in Python would use instead of Kodex: beside the native plugin, and beside the worker.
fn places(engine: Engine) -> [&'static str; 3] {
    match engine {
        Engine::Sqlite => ["diskcache", "sqlite3", "redis"],
        Engine::Postgres => ["psycopg", "psycopg", "psycopg"],
    }
}

#[derive(Default)]
struct Turns {
    one: Samples,
    many: Samples,
    limit_one: Samples,
    limit_many: Samples,
    worker: Samples,
    peers: [Samples; 3],
}

fn measure(
    world: &mut World,
    python: &mut Python,
    engine: Engine,
    asked: Asked,
    size: Size,
) -> Result<Turns> {
    let span = stored::span(size);
    let mut turns = Turns::default();
    // Interpreters are fast only after they ran for a while, and connections are made at the first use.
    world.native(asked, LANES, span)?;
    world.worker(asked, span)?;
    for _ in size.rounds(15, 0.22) {
        turns.limit_one.push(world.bare(asked, 1, span)?);
        turns.one.push(world.native(asked, 1, span)?);
        if engine == Engine::Postgres {
            turns.limit_many.push(world.bare(asked, LANES, span)?);
        }
        turns.many.push(world.native(asked, LANES, span)?);
        turns.worker.push(world.worker(asked, span)?);
        let mut done: Vec<(&str, Option<f64>)> = Vec::new();
        for (place, peer) in places(engine).into_iter().zip(&mut turns.peers) {
            // The same one beside two figures is measured once.
            let known = done.iter().find(|(known, _)| *known == place);
            let value = match known {
                Some((_, value)) => *value,
                None => python.turn(place, asked, span)?,
            };
            done.push((place, value));
            peer.extend(value);
        }
    }
    Ok(turns)
}

impl Turns {
    fn figures(
        &self,
        report: &mut Report,
        engine: Engine,
        asked: Asked,
        limit: &str,
        python: &Python,
    ) {
        let [beside_native, beside_too, beside_worker] = places(engine);
        let [peer, peer_too, peer_of_worker] = &self.peers;
        let name = |place: &str| python.name(place).unwrap_or_else(|| place.to_owned());
        let figure = |case: &str, values: &Samples| {
            let case = format!("{}_{case}", engine.as_str());
            Figure::higher(BENCH, &case, "1/s", values)
        };
        let word = asked.as_str();
        let one = figure(&format!("{word}_1"), &self.one)
            .limit(limit, &self.limit_one)
            .peer(&name(beside_native), peer);
        let one = match (engine, asked) {
            // 0.57 and 0.77 of bare rusqlite, where the numbers were set.
            (Engine::Sqlite, Asked::Get) => {
                one.target("ratio_peer>=1 and value>=130000 or ratio_limit<=1.76")
            }
            (Engine::Sqlite, _) => one.target("ratio_peer>=1 and value>=33000 or ratio_limit<=1.3"),
            (Engine::Postgres, _) => one.target("ratio_limit<=1.111"),
        };
        report.add(&one);
        let many = figure(&format!("{word}_8"), &self.many)
            .limit(limit, &self.limit_many)
            .peer("one caller", &self.one);
        report.add(&match (engine, asked) {
            (Engine::Sqlite, Asked::Get) => many.target("ratio_peer>=2"),
            (Engine::Sqlite, _) => many,
            (Engine::Postgres, _) => many.target("ratio_limit<=1.111"),
        });
        if beside_too != beside_native {
            let too = figure(&format!("{word}_1_{beside_too}"), &self.one);
            report.add(&too.peer(&name(beside_too), peer_too));
        }
        let worker = figure(&format!("worker_{word}"), &self.worker)
            .peer(&name(beside_worker), peer_of_worker);
        report.add(&match (engine, asked) {
            (Engine::Sqlite, Asked::Get) => worker.target("ratio_peer>=1"),
            _ => worker,
        });
    }
}
