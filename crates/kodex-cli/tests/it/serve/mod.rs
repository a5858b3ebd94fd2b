//! `kodex serve` with the real program: surfaces, signals, two nodes on one store, crashes.

mod answers;
mod health;
mod http;
mod life;
mod nodes;
mod server;
mod sessions;
mod socket;
mod webhook;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::Child,
    time::Instant,
};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::world::{DEADLINE, Done, Lines, World, finished, pid};

/// A plugin that asks for runs in its heartbeat: as many as the file `wanted` says.
pub(crate) const MAKER: &str = r#"
import kodex

plugin = kodex.Plugin("maker", "0.1.0", "Asks for runs.")


@plugin.heartbeat
def beat(beat):
    with open("WANTED") as wanted:
        n_wanted = int(wanted.read())
    for n in range(n_wanted):
        beat.agent.dispatch(f"k{n}", ("file", f"{n}.txt"), f"number {n}")


@plugin.hook("probe.x")
def probe(payload):
    return {"got": payload}


@plugin.tool("twice", description="Doubles a number.")
def twice(input):
    return {"n": input["n"] * 2}


@plugin.tool("echo", description="Gives back what it gets.")
def echo(input):
    return input
"#;

/// Times that suit a test.
pub(crate) const BRISK: &str = r#"
[work]
lease = "2s"
sweep = "200ms"
poll = "100ms"
pauses = ["50ms"]

[destinations.file]
folder = "answers"
"#;

/// A world with the plugin above, and a runner that is a shell script.
pub(crate) fn world(n_wanted: usize, runner: &str) -> World {
    let world = World::new();
    world.write("wanted", n_wanted.to_string());
    let wanted = world.work().join("wanted");
    let plugin = MAKER.replace("WANTED", &wanted.display().to_string());
    world.write("plugins/maker.py", plugin);
    world.write("run.sh", runner);
    let config = format!("{BRISK}\n[runner]\ncommand = [\"sh\", \"run.sh\"]\n");
    world.write(".kodex/config.toml", config);
    world
}

/// A running `kodex serve`. Dropping it kills it.
pub(crate) struct Node {
    child: Option<Child>,
    log: Lines,
}

impl Node {
    /// Starts one and waits until it is at work.
    pub(crate) fn start(world: &World, argv: &str) -> Self {
        let node = Self::begin(world, argv);
        node.log.until("the resident runtime is at work");
        node
    }

    pub(crate) fn begin(world: &World, argv: &str) -> Self {
        let words = std::iter::once("serve").chain(argv.split_whitespace());
        let mut child = world.command(words).spawn().expect("kodex");
        let log = Lines::new(child.stderr.take().expect("a log"));
        Self {
            child: Some(child),
            log,
        }
    }

    pub(crate) fn says(&self, text: &str) -> String {
        self.log.until(text)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a process").id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a process");
        kill_process(pid(child), signal).expect("a signal");
    }

    pub(crate) fn ended(mut self) -> Done {
        finished(self.child.take().expect("a process"))
    }

    /// Ends it well.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let done = self.ended();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }

    /// Its HTTP address, once it listens.
    pub(crate) fn http(&self) -> String {
        let line = self.log.until("probes and metrics are answered");
        let plain = plain(&line);
        let at = plain.find("address=").expect("an address") + "address=".len();
        plain[at..]
            .split_whitespace()
            .next()
            .expect("an address")
            .to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Without colours.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut is_escape = false;
    for c in text.chars() {
        match c {
            '\u{1b}' => is_escape = true,
            'm' if is_escape => is_escape = false,
            _ if is_escape => {}
            c => out.push(c),
        }
    }
    out
}

/// The living processes that come from one.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let is_alive = fields.next()? != "Z";
        fields.next()?.parse().ok().filter(|_| is_alive)
    };
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .expect("processes")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let of = found[at];
        found.extend(
            all.iter()
                .filter(|(_, parent)| *parent == of)
                .map(|(pid, _)| *pid),
        );
        at += 1;
    }
    found.split_off(1)
}

/// Asks again until something is so.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "{what} does not happen");
        std::thread::yield_now();
        // Each look is a program or a connection, which is pause enough.
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test waits by the machine's clock"
)]
fn now() -> Instant {
    Instant::now()
}

pub(crate) fn socket(world: &World) -> PathBuf {
    world.work().join(".kodex/run/kodex.sock")
}

/// What the runs are, by state.
pub(crate) fn runs(world: &World) -> Vec<Value> {
    let done = world.run("runs list --limit 1000 --json");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let runs: Value = serde_json::from_str(&done.stdout).expect("JSON");
    runs.as_array().expect("runs").clone()
}

pub(crate) fn all_are(world: &World, n: usize, status: &str) -> Option<Vec<Value>> {
    let runs = runs(world);
    let is_so = runs.len() == n && runs.iter().all(|run| run["status"] == status);
    is_so.then_some(runs)
}

/// One request and everything that comes back.
pub(crate) fn get(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(DEADLINE)).expect("a bound");
    stream.write_all(text.as_bytes()).expect("a request");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// Status and body of a path.
pub(crate) fn page(address: &str, path: &str) -> (u16, String) {
    let answer = get(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"),
    );
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    (status, body.unwrap_or_default())
}

/// What the socket answers to lines.
pub(crate) fn say(world: &World, text: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket(world)).expect("a socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("a bound");
    let _ = stream.write_all(text);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}
