//! Whoever asks the nodes for work: one message at a time over their sockets, every answer written down.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_chaos::{
    history::{Answer, Asked, Kind},
    seed::Seed,
};
use serde_json::{Value, json};

/// How long an answer may take; a node that is stopped gives none.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What came of a request.
enum Came {
    /// An answer.
    Result(Value),
    /// A refusal with its code.
    Refused(String),
    /// Nothing was sent.
    Unsent(String),
    /// Something was sent, and nothing came back.
    Lost(String),
}

fn ask(socket: &Path, method: &str, params: &Value) -> Came {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => return Came::Unsent(error.to_string()),
    };
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let mut talk = || -> std::io::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{request}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(line)
    };
    let line = match talk() {
        Ok(line) => line,
        Err(error) => return Came::Lost(error.to_string()),
    };
    match serde_json::from_str::<Value>(&line) {
        Ok(answer) => match answer.get("result") {
            Some(result) => Came::Result(result.clone()),
            None => {
                let code = answer.pointer("/error/data/code").and_then(Value::as_str);
                Came::Refused(code.unwrap_or("none").to_owned())
            }
        },
        Err(_) => Came::Lost("the answer was cut".to_owned()),
    }
}

/// Asks until it is told to stop.
pub(super) struct Client {
    sockets: Vec<PathBuf>,
    begun_at: Instant,
    asked: Mutex<Vec<Asked>>,
    pub(super) stops: AtomicBool,
}

impl Client {
    pub(super) fn new(sockets: Vec<PathBuf>, begun_at: Instant) -> Self {
        Self {
            sockets,
            begun_at,
            asked: Mutex::default(),
            stops: AtomicBool::new(false),
        }
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for items, now and then again for one whose answer was lost, and has some ended or tried again.
    pub(super) fn work(&self, name: &str, mut seed: Seed) {
        let mut n = 0;
        let mut lost: Vec<(String, Value, Kind)> = Vec::new();
        let mut accepted: Vec<(String, String, Kind)> = Vec::new();
        while !self.stops.load(Ordering::Relaxed) {
            let Some(socket) = seed.pick(&self.sockets).cloned() else {
                return;
            };
            let what = seed.below(100);
            if what < 4
                && let Some((item, id, kind)) = seed.pick(&accepted).cloned()
            {
                // What was given up is tried again, what may go on is ended.
                let cancel = kind != Kind::Hopeless;
                self.touch(&socket, &item, &id, kind, cancel);
            } else if what < 30 && !lost.is_empty() {
                let at = usize::try_from(seed.below(lost.len() as u64)).unwrap_or(0);
                let (item, payload, kind) = lost.swap_remove(at);
                self.put(&socket, (item, payload, kind), &mut lost, &mut accepted);
            } else {
                n += 1;
                let item = format!("{name}{n}");
                let kind = kind(&mut seed);
                let payload = payload(&item, kind, &mut seed);
                self.put(&socket, (item, payload, kind), &mut lost, &mut accepted);
            }
            // The pace of what is asked for, not a wait for anything.
            std::thread::sleep(Duration::from_millis(seed.between(5, 90)));
        }
    }

    fn put(
        &self,
        socket: &Path,
        (item, payload, kind): (String, Value, Kind),
        lost: &mut Vec<(String, Value, Kind)>,
        accepted: &mut Vec<(String, String, Kind)>,
    ) {
        let params = json!({"hook": "chaos.put", "payload": payload});
        let answer = match ask(socket, "emit", &params) {
            Came::Result(result) => judge(&result),
            // A node that ends begins nothing; any other error may have come after the deed.
            Came::Refused(code) if code == "daemon.draining" => Answer::Refused { code },
            Came::Unsent(why) => Answer::Refused { code: why },
            Came::Refused(why) | Came::Lost(why) => Answer::Lost { why },
        };
        match &answer {
            Answer::Accepted { id } => accepted.push((item.clone(), id.clone(), kind)),
            Answer::Lost { .. } => lost.push((item.clone(), payload, kind)),
            Answer::Refused { .. } | Answer::Touched { .. } => {}
        }
        self.note(item, kind, answer);
    }

    fn touch(&self, socket: &Path, item: &str, id: &str, kind: Kind, cancel: bool) {
        // Before it is said: an answer that is lost may have been obeyed.
        let id = id.to_owned();
        let answer = Answer::Touched {
            id: id.clone(),
            cancel,
        };
        self.note(item.to_owned(), kind, answer);
        let method = if cancel { "runs/cancel" } else { "runs/retry" };
        ask(socket, method, &json!({"id": id}));
    }

    fn note(&self, item: String, kind: Kind, answer: Answer) {
        let at_ms = u64::try_from(self.begun_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked().push(Asked {
            at_ms,
            item,
            kind,
            answer,
        });
    }
}

/// What the plugin said; anything else says nothing about what became of the item.
fn judge(result: &Value) -> Answer {
    let Some(reply) = result.pointer("/answer/0") else {
        return Answer::Lost {
            why: format!("no reply: {result}"),
        };
    };
    let word = |name: &str| reply.get(name).and_then(Value::as_str).map(str::to_owned);
    match (word("id"), word("code")) {
        (Some(id), _) => Answer::Accepted { id },
        (None, Some(code)) if reply["refused"] == Value::Bool(true) => Answer::Refused { code },
        (None, code) => Answer::Lost {
            why: code.unwrap_or_else(|| reply.to_string()),
        },
    }
}

fn kind(seed: &mut Seed) -> Kind {
    match seed.below(100) {
        0..45 => Kind::Plain,
        45..50 => Kind::Flaky,
        50..52 => Kind::Crash,
        52..77 => Kind::Slow,
        77..80 => Kind::Hopeless,
        80..97 => Kind::Run,
        _ => Kind::Invalid,
    }
}

fn payload(item: &str, kind: Kind, seed: &mut Seed) -> Value {
    let delay_ms = if seed.percent(20) { seed.below(800) } else { 0 };
    let lane = seed.percent(15).then(|| format!("lane {}", seed.below(2)));
    json!({
        "item": item,
        "kind": kind.as_str(),
        "ms": seed.between(10, if kind == Kind::Slow { 2_000 } else { 60 }),
        "delay_ms": delay_ms,
        "lane": lane,
        "priority": seed.pick(&["urgent", "normal", "low"]),
    })
}
