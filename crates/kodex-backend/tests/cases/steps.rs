//! One case: the host opens the relay as a plugin, and each step is done or compared.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kodex_backend::{Backend, Command, Launch, Package, WorkerBackend, WorkerOptions};
use kodex_plugin::{
    Call, Clock, Context, Deadline, Json, Limits, Manifest, Plugin, PluginError, PluginName, Reply,
    Request, RequestKind,
    host::{HostCall, HostError, LogLevel},
    manifest::{Run, Version},
};
use serde_json::{Value, json};
use tokio::{
    net::UnixListener,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    client::{Client, SOON, listen},
    pattern::{Ids, matches},
};

struct TestClock;

impl Clock for TestClock {
    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }

    fn unix_ms(&self) -> u64 {
        1_795_000_000_000
    }
}

/// A host whose only service is the clock, as the cases demand.
struct CaseHost;

impl kodex_plugin::Host for CaseHost {
    fn request<'a>(&'a self, method: &'a str, _: Json) -> HostCall<'a> {
        let answer = match method {
            "clock/now" => Ok(Json::from(json!({"unix_ms": TestClock.unix_ms()}))),
            other => Err(HostError::unknown_method(other)),
        };
        Box::pin(std::future::ready(answer))
    }

    fn log(&self, _: LogLevel, _: &str, _: &Json) {}
}

type Outcome = Result<Reply, PluginError>;

/// The tested side and everything that was asked of it.
struct Subject {
    plugin: Arc<dyn Plugin>,
    listener: UnixListener,
    /// The file that tells the relay with which status to exit.
    exit: PathBuf,
    client: Option<Client>,
    ids: Ids,
    starting: Option<JoinHandle<Result<(), PluginError>>>,
    calls: HashMap<u64, JoinHandle<Outcome>>,
    stopping: Option<JoinHandle<()>>,
}

pub(crate) async fn replay(case: &Value, steps: &[Value]) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut subject = Subject::open(folder.path())?;
    subject.start();
    if case["handshake"] != json!(false) {
        subject.handshake().await?;
    }
    for (n, step) in steps.iter().enumerate() {
        let doing = timeout(2 * SOON, subject.step(step)).await;
        doing
            .unwrap_or_else(|_| Err("took too long".into()))
            .map_err(|why| format!("step {}: {why}", n + 1))?;
    }
    Ok(())
}

impl Subject {
    fn open(folder: &Path) -> Result<Self, String> {
        let socket = folder.join("socket");
        let listener = listen(&socket);
        let relay = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/relay.py");
        let name = PluginName::new("case-plugin").map_err(|error| error.to_string())?;
        let run = Run::Process {
            command: vec!["python3".into()],
            env: Vec::new(),
        };
        let manifest = Manifest::new(
            name,
            Version::new("1.2.3"),
            "Played by the raw client.",
            run,
        );
        let command = Command {
            program: "python3".into(),
            args: vec!["-I".into(), "-S".into(), relay.into(), socket.into()],
            env: Vec::new(),
        };
        let options = WorkerOptions::new(Arc::new(TestClock), tokio::runtime::Handle::current());
        let package = Package {
            manifest,
            root: folder.to_owned(),
            limits: Limits::default(),
            launch: Launch::Command(command),
        };
        let plugin = WorkerBackend::new(options)
            .open(package)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            plugin,
            listener,
            exit: folder.join("socket.exit"),
            client: None,
            ids: Ids::new(),
            starting: None,
            calls: HashMap::new(),
            stopping: None,
        })
    }

    fn start(&mut self) {
        let plugin = self.plugin.clone();
        let context = Context {
            plugin: plugin.manifest().name.clone(),
            config: Json::object(),
            grants: Vec::new(),
            host: Arc::new(CaseHost),
        };
        self.starting = Some(tokio::spawn(async move {
            ready(plugin.activate(context)).await
        }));
    }

    async fn client(&mut self) -> Result<&mut Client, String> {
        if self.client.is_none() {
            self.client = Some(Client::accept(&self.listener).await?);
        }
        self.client.as_mut().ok_or_else(|| "no client".into())
    }

    async fn handshake(&mut self) -> Result<(), String> {
        let client = self.client().await?;
        let (_, asked) = client.line().await?;
        let result = json!({"contract": {"version": 1, "features": ["cancel"]}, "plugin": {"name": "case-plugin", "version": "1.2.3"}});
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": result});
        client.send(format!("{answer}\n").as_bytes()).await;
        self.started(&json!("ok")).await
    }

    async fn step(&mut self, step: &Value) -> Result<(), String> {
        if let Some(asked) = step.get("do") {
            return self.ask(asked).await;
        }
        if let Some(outcome) = step.get("outcome") {
            return self.outcome(outcome).await;
        }
        if let Some(start) = step.get("start") {
            return self.started(start).await;
        }
        if step.get("ended").is_some() {
            return self.client().await?.ended().await;
        }
        if let Some(health) = step.get("health") {
            return self.healthy(health).await;
        }
        match step["dir"].as_str() {
            Some("plugin") => self.say(step).await,
            Some("host") => self.hear(step).await,
            _ => Err(format!("an unknown step: {step}")),
        }
    }

    async fn say(&mut self, step: &Value) -> Result<(), String> {
        let (ids, exit) = (self.ids.clone(), self.exit.clone());
        let client = self.client().await?;
        let mut bytes = Vec::new();
        if let Some(lines) = step["together"].as_array() {
            for line in lines {
                bytes.extend(client.fill(line.as_str().unwrap_or_default(), &ids).bytes());
                bytes.push(b'\n');
            }
        } else if let Some(status) = step["exit"].as_i64() {
            std::fs::write(&exit, status.to_string()).map_err(|error| error.to_string())?;
            client.close();
            return Ok(());
        } else if step.get("close").is_some() {
            client.close();
            return Ok(());
        } else {
            bytes = one_line(step, &|line| client.fill(line, &ids))?;
        }
        client.send(&bytes).await;
        Ok(())
    }

    async fn hear(&mut self, step: &Value) -> Result<(), String> {
        if step.get("closed").is_some() {
            return self.client().await?.ended().await;
        }
        if let Some(patterns) = step["any_order"].as_array() {
            let mut left: Vec<&Value> = patterns.iter().collect();
            for _ in patterns {
                let (line, value) = self.client().await?.line().await?;
                let fits =
                    |pattern: &&Value| matches(pattern, &value, &mut self.ids.clone()).is_ok();
                let at = left
                    .iter()
                    .position(fits)
                    .ok_or_else(|| format!("unexpected: {line}"))?;
                matches(left.remove(at), &value, &mut self.ids)?;
            }
            return Ok(());
        }
        let (line, value) = self.client().await?.line().await?;
        if let Some(text) = step["holds"].as_str()
            && !line.contains(text)
        {
            return Err(format!("{text:?} does not stand in {line}"));
        }
        match step.get("expect") {
            Some(pattern) => matches(pattern, &value, &mut self.ids),
            None => Ok(()),
        }
    }

    async fn ask(&mut self, asked: &Value) -> Result<(), String> {
        if let Some(n) = asked["cancel"].as_u64() {
            let call = self.calls.remove(&n).ok_or("nothing to cancel")?;
            call.abort();
            let _ = call.await;
            return Ok(());
        }
        if asked.get("stop").is_some() {
            let plugin = self.plugin.clone();
            self.stopping = Some(tokio::spawn(async move {
                // How stopping ends is compared by what the host says and by its end.
                let _ = ready(plugin.deactivate()).await;
            }));
            return Ok(());
        }
        let n = asked["call"]
            .as_u64()
            .ok_or_else(|| format!("an unknown request: {asked}"))?;
        let (plugin, asked) = (self.plugin.clone(), asked.clone());
        self.calls
            .insert(n, tokio::spawn(async move { call(&*plugin, &asked).await }));
        Ok(())
    }

    async fn outcome(&mut self, wanted: &Value) -> Result<(), String> {
        let n = wanted["call"].as_u64().ok_or("an outcome names its call")?;
        let call = self.calls.remove(&n).ok_or("there is no such call")?;
        let ended = timeout(SOON, call)
            .await
            .map_err(|_| "the call does not end")?;
        match ended.map_err(|error| error.to_string())? {
            Ok(Reply(None)) if wanted.get("nothing").is_some() => Ok(()),
            Ok(Reply(Some(reply))) if wanted.get("reply").is_some() => {
                matches(&wanted["reply"], reply.value(), &mut self.ids)
            }
            Err(error) if wanted.get("failure").is_some() => compare_failure(wanted, &error),
            other => Err(format!("wanted {wanted}, got {other:?}")),
        }
    }

    async fn started(&mut self, wanted: &Value) -> Result<(), String> {
        let starting = self.starting.take().ok_or("nothing is starting")?;
        let ended = timeout(SOON, starting)
            .await
            .map_err(|_| "the start does not end")?;
        match ended.map_err(|error| error.to_string())? {
            Ok(()) if wanted == "ok" => Ok(()),
            Err(error) if wanted.get("failure").is_some() => compare_failure(wanted, &error),
            other => Err(format!("wanted {wanted}, got {other:?}")),
        }
    }

    /// Counters follow what they count; a moment may pass.
    async fn healthy(&mut self, pattern: &Value) -> Result<(), String> {
        let until = Instant::now() + SOON;
        loop {
            let health =
                serde_json::to_value(self.plugin.health()).map_err(|error| error.to_string())?;
            match matches(pattern, &health, &mut self.ids) {
                Err(why) if Instant::now() >= until => return Err(why),
                Err(_) => tokio::task::yield_now().await,
                Ok(()) => return Ok(()),
            }
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        for task in self.calls.values() {
            task.abort();
        }
        if let Some(stopping) = &self.stopping {
            stopping.abort();
        }
    }
}

fn compare_failure(wanted: &Value, error: &PluginError) -> Result<(), String> {
    let got = json!({"failure": error.failure.as_str(), "code": error.code});
    let pattern = json!({"failure": wanted["failure"], "code": wanted["code"]});
    matches(&pattern, &got, &mut Ids::new()).map_err(|why| format!("{why} ({error})"))
}

fn one_line(step: &Value, fill: &dyn Fn(&str) -> String) -> Result<Vec<u8>, String> {
    let mut bytes = if let Some(line) = step["line"].as_str() {
        fill(line).into_bytes()
    } else if let Some(hex) = step["hex"].as_str() {
        let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16);
        (0..hex.len())
            .step_by(2)
            .map(pair)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?
    } else if let Some(parts) = step.get("repeat") {
        let part = |key: &str| fill(parts[key].as_str().unwrap_or_default());
        let times = usize::try_from(parts["times"].as_u64().unwrap_or(0)).unwrap_or(0);
        format!(
            "{}{}{}",
            part("head"),
            part("unit").repeat(times),
            part("tail")
        )
        .into_bytes()
    } else {
        return Err(format!("nothing to say in {step}"));
    };
    if step["cr"] == json!(true) {
        bytes.push(b'\r');
    }
    bytes.push(b'\n');
    Ok(bytes)
}

async fn call(plugin: &dyn Plugin, asked: &Value) -> Outcome {
    let timeout = Duration::from_millis(asked["timeout_ms"].as_u64().unwrap_or(2_000));
    let payload = Json::from(asked["payload"].clone());
    let kind = match asked["kind"].as_str() {
        Some("tool") => RequestKind::Tool,
        _ => RequestKind::Hook,
    };
    let deadline = Deadline {
        at: TestClock.now() + timeout,
        timeout,
    };
    let name = asked["name"].as_str().unwrap_or_default();
    ready(plugin.call(Request {
        kind,
        name,
        payload: &payload,
        deadline,
        caller: None,
    }))
    .await
}

async fn ready<T>(call: Call<'_, T>) -> Result<T, PluginError> {
    match call {
        Call::Ready(result) => result,
        Call::Pending(future) => future.await,
    }
}
