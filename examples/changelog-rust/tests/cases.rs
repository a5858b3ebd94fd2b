//! The loop speaks the contract: every recorded exchange for plugins is replayed against it, by a
//! client that knows lines and JSON and nothing of the loop.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test, with its place"
)]

use std::{
    future::{pending, poll_fn},
    io::{BufRead, BufReader, PipeWriter, Write, pipe},
    path::Path,
    sync::{Arc, Mutex, mpsc},
    task::Poll,
    thread::{self, JoinHandle},
    time::Duration,
};

use changelog_rust::serve::serve;
use kodex_plugin::{
    Call, Context, HookName, Host, Json, Manifest, Plugin, PluginError, PluginName, Reply, Request,
    RequestKind, Tool,
    host::LogLevel,
    manifest::{Run, Subscription, Version},
};
use serde_json::{Value, json};

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Parts of the contract that the loop supports.
const SUPPORTED: [&str; 2] = ["cancel", "exact-numbers"];

/// The plugin that `contract/cases/README.md` describes.
struct CasePlugin {
    manifest: Manifest,
    context: Mutex<Option<Context>>,
}

impl CasePlugin {
    fn new() -> Self {
        let name = PluginName::new("case-plugin").unwrap();
        let mut manifest = Manifest::new(name, Version::new("1.2.3"), "Answers.", Run::Native);
        let hooks = [
            "echo", "nothing", "raise", "log", "clock", "ask", "wait", "org",
        ];
        let subscription = |name: &str| Subscription::new(HookName::new(name).unwrap());
        manifest.hooks.extend(hooks.map(subscription));
        manifest
            .tools
            .push(Tool::new("count", "Counts words.").unwrap());
        Self {
            manifest,
            context: Mutex::new(None),
        }
    }

    fn context(&self) -> Context {
        self.context.lock().unwrap().clone().expect("it is active")
    }
}

impl Plugin for CasePlugin {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        *self.context.lock().unwrap() = Some(context);
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        let text = request.payload.value()["text"].as_str();
        let host = self.context().host;
        Call::Ready(match (request.kind, request.name) {
            (RequestKind::Tool, _) => match text {
                Some(text) => Ok(Reply::from(
                    json!({"words": text.split_whitespace().count()}),
                )),
                None => Err(PluginError::domain("text must be a string")),
            },
            (_, "echo") => Ok(Reply::from(request.payload.clone())),
            (_, "raise") => Err(PluginError::raised(text.unwrap_or_default())),
            (_, "log") => {
                host.log(LogLevel::Info, "indexed", &Json::from(json!({"files": 12})));
                Ok(Reply::from(json!({"logged": true})))
            }
            (_, "clock") => return Call::pending(ask(host, "clock/now".into(), Json::object())),
            (_, "ask") => {
                let method = request.payload.value()["method"]
                    .as_str()
                    .unwrap_or_default();
                let params = request.payload.value()["params"].clone();
                let asked = ask(host, method.to_owned(), Json::from(params));
                return Call::pending(async move {
                    Ok(match asked.await {
                        Ok(Reply(result)) => Reply::from(json!({"result": result})),
                        Err(refused) => Reply::from(json!({"error": refused.code})),
                    })
                });
            }
            (_, "wait") => return Call::pending(at_work()),
            (_, "org") => Ok(Reply::from(self.context().config)),
            _ => Ok(Reply::nothing()),
        })
    }
}

async fn ask(host: Arc<dyn Host>, method: String, params: Json) -> Result<Reply, PluginError> {
    match host.request(&method, params).await {
        Ok(answer) => Ok(Reply::from(answer)),
        Err(error) => Err(PluginError::new(
            kodex_plugin::Failure::Raised,
            error.code,
            error.message,
        )),
    }
}

/// Works without end, a little at a time.
async fn at_work() -> Result<Reply, PluginError> {
    poll_fn::<(), _>(|poller| {
        poller.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    pending().await
}

/// The host's end of the two pipes.
struct Client {
    input: Option<PipeWriter>,
    lines: mpsc::Receiver<String>,
    worker: Option<JoinHandle<std::io::Result<()>>>,
    its_id: Value,
}

impl Client {
    fn start() -> Self {
        let (from_host, input) = pipe().unwrap();
        let (output, to_host) = pipe().unwrap();
        let worker = thread::spawn(move || serve(&CasePlugin::new(), from_host, to_host));
        let (sender, lines) = mpsc::sync_channel(1 << 10);
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            input: Some(input),
            lines,
            worker: Some(worker),
            its_id: Value::Null,
        }
    }

    fn handshake(&mut self) {
        let params = json!({
            "contract": {"version": 1, "features": ["cancel", "clock", "log"]},
            "host": {"name": "kodex", "version": "0.1.0"}, "plugin": "case-plugin",
            "context": {}, "grants": [], "limits": {"frame_bytes": 1 << 20, "depth": 64},
        });
        let line = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        self.send(format!("{line}\n").as_bytes());
        assert_eq!(self.message()["id"], 1);
    }

    fn send(&mut self, bytes: &[u8]) {
        self.input
            .as_mut()
            .expect("the input is open")
            .write_all(bytes)
            .unwrap();
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    fn message(&mut self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn ends(&mut self) {
        let worker = self.worker.take().expect("it ends once");
        worker.join().unwrap().unwrap();
        assert_eq!(
            self.lines.recv_timeout(PATIENCE).ok(),
            None,
            "nothing more is said"
        );
    }

    fn step(&mut self, step: &Value) {
        if step["dir"] == "host" {
            if step["close"] == true {
                self.input = None;
            } else {
                let bytes = bytes_of(step, &self.its_id);
                self.send(&bytes);
            }
        } else if step["exit"] == 0 {
            self.ends();
        } else if let Some(patterns) = step["any_order"].as_array() {
            let mut left = patterns.clone();
            while !left.is_empty() {
                let got = self.message();
                let fits = |pattern: &Value| difference(pattern, &got, "$").is_none();
                let at = left.iter().position(fits);
                left.remove(at.unwrap_or_else(|| panic!("nothing expects {got}")));
            }
        } else {
            let line = self.line();
            let got: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(difference(&step["expect"], &got, "$"), None, "{got:.300}");
            assert!(
                line.contains(step["holds"].as_str().unwrap_or_default()),
                "{line}"
            );
            if got.get("method").is_some() {
                self.its_id = got["id"].clone();
            }
        }
    }
}

fn bytes_of(step: &Value, its_id: &Value) -> Vec<u8> {
    if let Some(hex) = step["hex"].as_str() {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let mut bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        bytes.push(b'\n');
        return bytes;
    }
    let part = |key: &str| step["repeat"][key].as_str().unwrap_or_default();
    let texts: Vec<String> = match (&step["together"], &step["repeat"]) {
        (Value::Array(lines), _) => lines
            .iter()
            .map(|line| line.as_str().unwrap().into())
            .collect(),
        (_, Value::Object(repeat)) => {
            let times = usize::try_from(repeat["times"].as_u64().unwrap()).unwrap();
            vec![format!(
                "{}{}{}",
                part("head"),
                part("unit").repeat(times),
                part("tail")
            )]
        }
        _ => vec![step["line"].as_str().unwrap().into()],
    };
    let end = if step["cr"] == true { "\r\n" } else { "\n" };
    let lines = texts.iter().map(|text| format!("{text}{end}"));
    let text: String = lines.collect();
    text.replace("\"<its id>\"", &its_id.to_string())
        .into_bytes()
}

/// Where and how a document differs from a pattern.
fn difference(pattern: &Value, got: &Value, at: &str) -> Option<String> {
    let fits = match (pattern, got) {
        (Value::String(word), _) if word == "<any>" => true,
        (Value::String(word), _) if word == "<any string>" => got.is_string(),
        (Value::String(word), _) if word == "<optional string>" => got.is_string(),
        (Value::String(word), _) if word == "<any number>" => got.is_number(),
        (Value::String(word), _) if word == "<any object>" => got.is_object(),
        (Value::Object(wanted), Value::Object(fields)) => {
            let is_free = wanted.contains_key("<more>");
            let extra = fields.keys().find(|key| !wanted.contains_key(*key));
            if let Some(key) = extra.filter(|_| !is_free) {
                return Some(format!("{at}: unexpected {key}"));
            }
            return wanted
                .iter()
                .filter(|(key, _)| *key != "<more>")
                .find_map(|(key, pattern)| match fields.get(key) {
                    Some(value) => difference(pattern, value, &format!("{at}.{key}")),
                    None if pattern == "<optional string>" => None,
                    None => Some(format!("{at}: {key} is missing")),
                });
        }
        (Value::Array(wanted), Value::Array(items)) if wanted.len() == items.len() => {
            let mut pairs = wanted.iter().zip(items).enumerate();
            return pairs
                .find_map(|(n, (one, other))| difference(one, other, &format!("{at}[{n}]")));
        }
        _ => pattern == got,
    };
    (!fits).then(|| format!("{at}: expected {pattern:.200}, got {got:.200}"))
}

fn cases() -> Vec<(Value, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contract/cases/v1");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let mut cases: Vec<(Value, Vec<Value>)> = Vec::new();
    for text in files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
    {
        for line in text.lines() {
            let step: Value = serde_json::from_str(line).unwrap();
            if step.get("case").is_some() {
                cases.push((step, Vec::new()));
            } else {
                cases
                    .last_mut()
                    .expect("a file begins with a case")
                    .1
                    .push(step);
            }
        }
    }
    cases
}

#[test]
fn every_recorded_exchange_is_reproduced() {
    let mut n_replayed = 0;
    let mut failed = Vec::new();
    for (head, steps) in cases() {
        let is_supported = head["needs"]
            .as_str()
            .is_none_or(|part| SUPPORTED.contains(&part));
        if head["subject"] != "plugin" || !is_supported {
            continue;
        }
        let replay = || {
            let mut client = Client::start();
            if head["handshake"] != false {
                client.handshake();
            }
            for step in &steps {
                client.step(step);
            }
        };
        n_replayed += 1;
        if let Err(panicked) = kodex_testkit::capture(replay) {
            failed.push(format!("{}: {panicked}", head["case"]));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(n_replayed > 40, "only {n_replayed} cases were found");
}

#[test]
fn differences_are_seen() {
    let check = |pattern: Value, got: Value, want: bool| {
        assert_eq!(
            difference(&pattern, &got, "$").is_some(),
            want,
            "{pattern} {got}"
        );
    };
    check(json!({"a": "<any>"}), json!({"a": null}), false);
    check(json!({"a": "<optional string>"}), json!({}), false);
    check(json!({"<more>": true}), json!({"b": 1}), false);
    check(json!({"a": 1}), json!({"a": 1.0}), true);
    check(json!({"a": 1}), json!({"a": 1, "b": 2}), true);
    check(json!({"a": 1}), json!({}), true);
    check(json!([1]), json!([1, 2]), true);
    check(json!("<any string>"), json!(7), true);
}
