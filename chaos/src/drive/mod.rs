//! One run: nodes, work, faults, the wait for calm, the end, and the judgement.

mod calm;
mod client;
mod clock;
mod door;
mod fault;
mod node;
mod place;
mod report;
mod tasks;
mod watch;
mod world;

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use kodex_chaos::{
    history::{Asked, History, Said},
    seed::Seed,
};

use tokio::signal::unix::{SignalKind, signal};

use self::{client::Client, fault::Chaos, node::Node, place::Place, watch::Watch, world::World};

/// Those who ask for items, each for its own; many, because a node that stands still holds up whoever asks it.
const STREAMS: [&str; 6] = ["i", "k", "m", "p", "s", "t"];

/// What is to be done.
pub(crate) struct Orders {
    pub(crate) kodex: PathBuf,
    pub(crate) engine: String,
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    pub(crate) faults: Vec<String>,
    pub(crate) keep: bool,
}

impl Orders {
    fn again(&self) -> String {
        let (seconds, seed, engine) = (self.time.as_secs(), self.seed, &self.engine);
        let mut text =
            format!("cargo xtask chaos --engine {engine} --seconds {seconds} --seed {seed}");
        if !self.faults.is_empty() {
            text += &format!(" --faults {}", self.faults.join(","));
        }
        text
    }
}

/// Between two looks at something that has no other way to be waited for.
fn pace() {
    thread::sleep(Duration::from_millis(10));
}

/// Runs it; whether nothing was violated.
pub(crate) fn run(orders: &Orders) -> Result<bool> {
    // Signals are waited for beside the work, which looks at this.
    let stops = Arc::new(AtomicBool::new(false));
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::scope(|scope| {
        let work = {
            let stops = stops.clone();
            scope.spawn(move || one(orders, &stops))
        };
        tokio.block_on(until_done(&stops, || work.is_finished()))?;
        match work.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits for the end of the work, and tells it of the first signal to end.
async fn until_done(stops: &AtomicBool, is_done: impl Fn() -> bool) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    while !is_done() {
        tokio::select! {
            _ = interrupt.recv() => stops.store(true, Ordering::Relaxed),
            _ = terminate.recv() => stops.store(true, Ordering::Relaxed),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    Ok(())
}

fn one(orders: &Orders, stops: &AtomicBool) -> Result<bool> {
    println!("chaos: engine {}, seed {}", orders.engine, orders.seed);
    let world = World::new(&orders.kodex, orders.keep)?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let place = tokio.block_on(Place::new(&orders.engine, &world))?;
    let done = on(orders, &world, &place, &tokio, stops);
    tokio.block_on(place.remove())?;
    done
}

fn on(
    orders: &Orders,
    world: &World,
    place: &Place,
    tokio: &tokio::runtime::Runtime,
    stops: &AtomicBool,
) -> Result<bool> {
    let begun_at = Instant::now();
    let mut seed = Seed::new(orders.seed);
    let watch = place.watch();
    let library = clock::library();
    world.run(&place.url(), &["upgrade"], &[])?;
    // The first one to work makes the tables of jobs.
    world.run(&place.url(), &["heartbeat", "--work"], &[])?;
    tasks::add(world, &place.url(), library.as_deref())?;
    tokio.block_on(watch.begin())?;

    let nodes = ["a", "b", "c"].map(|name| Node::new(world, name, place, library.as_deref()));
    let mut nodes: Vec<Node> = nodes.into_iter().collect::<Result<_>>()?;
    nodes.iter_mut().try_for_each(|node| node.start(world))?;
    let client = Client::new(nodes.iter().map(Node::socket).collect(), begun_at);
    let mut chaos = Chaos::new(nodes, seed.fork(), &orders.faults);
    let streams = STREAMS.map(|name| (name, seed.fork()));
    thread::scope(|scope| {
        for (name, seed) in streams {
            let client = &client;
            scope.spawn(move || client.work(name, seed));
        }
        let driven = drive(orders, world, &mut chaos, stops);
        client.stops.store(true, Ordering::Relaxed);
        driven
    })?;
    chaos.heal(world)?;
    let calm = calm::reach(world, &watch, &mut chaos, tokio, stops)?;
    chaos
        .nodes
        .iter()
        .for_each(|node| node.signal(rustix::process::Signal::TERM));
    for node in &mut chaos.nodes {
        if !node.end(Duration::from_secs(15)) {
            chaos.n_late_ends += 1;
        }
    }
    if stops.load(Ordering::Relaxed) {
        bail!("it was ended from outside");
    }
    let asked = client.asked().clone();
    let history = tokio.block_on(history(world, &watch, asked, calm.now_ms))?;
    report::judge(orders, &chaos, &history, &calm, begun_at)
}

fn drive(orders: &Orders, world: &World, chaos: &mut Chaos, stops: &AtomicBool) -> Result<()> {
    let until = Instant::now() + orders.time;
    while Instant::now() < until && !stops.load(Ordering::Relaxed) {
        chaos.step(world)?;
        pace();
    }
    Ok(())
}

async fn history(world: &World, watch: &Watch, asked: Vec<Asked>, now_ms: i64) -> Result<History> {
    let (changes, marks) = watch.log().await?;
    let store = watch.store().await?;
    let rows = watch::rows(&*store).await?;
    let (tasks, slots) = watch::schedule(&*store, now_ms).await?;
    store.close().await?;
    let text = fs::read_to_string(world.said())?;
    let said: Result<Vec<Said>> = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("said: {line}")))
        .collect();
    Ok(History {
        asked,
        changes,
        marks,
        said: said?,
        rows,
        tasks,
        slots,
    })
}
