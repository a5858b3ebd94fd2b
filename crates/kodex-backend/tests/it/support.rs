//! What the tests of workers share: packages around the fixtures, a clock, a host that listens.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kodex_backend::{Command, Launch, Package, Worker, WorkerBackend, WorkerOptions, WorkerTimes};
use kodex_plugin::{
    Call, Clock, Context, Deadline, Host, HostCall, HostError, Json, Limits, Manifest, Plugin,
    PluginError, PluginName, Reply, Request, RequestKind,
    host::LogLevel,
    manifest::{Run, Version},
};
use serde_json::{Value, json};

/// Real time.
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        kodex_plugin::clock::millis(since.unwrap_or_default())
    }
}

/// A host that answers the time, keeps what is logged, and is slow on request.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) logged: Mutex<Vec<(LogLevel, String, Value)>>,
    /// Requests that were begun and not finished.
    pub(crate) open: Arc<()>,
}

impl Host for Listener {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        let open = Arc::clone(&self.open);
        Box::pin(async move {
            let _open = open;
            match method {
                "clock/now" => Ok(Json::from(json!({"unix_ms": RealClock.unix_ms()}))),
                "test/echo" => Ok(params),
                "test/never" => std::future::pending().await,
                "test/panic" => panic!("the host breaks"),
                "test/refuse" => Err(HostError::new("permission.denied", "not granted")),
                _ => Err(HostError::unknown_method(method)),
            }
        })
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        let line = (level, message.to_owned(), fields.value().clone());
        self.logged.lock().expect("no panic before").push(line);
    }
}

/// Times short enough for tests and long enough for a busy machine.
pub(crate) fn short_times() -> WorkerTimes {
    WorkerTimes {
        handshake: Duration::from_secs(10),
        cancel_grace: Duration::from_millis(250),
        term_grace: Duration::from_millis(300),
        shutdown: Duration::from_secs(2),
        write_timeout: Duration::from_millis(400),
        flood_patience: Duration::from_millis(200),
    }
}

pub(crate) fn options() -> WorkerOptions {
    let mut options = WorkerOptions::new(Arc::new(RealClock), tokio::runtime::Handle::current());
    options.times = short_times();
    options
}

pub(crate) fn fixture(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    root.join(path)
        .canonicalize()
        .expect("the fixture is there")
}

/// A plugin in a folder of its own, by which its processes are found again.
pub(crate) struct Plug {
    pub(crate) worker: Worker,
    pub(crate) name: PluginName,
    pub(crate) host: Arc<Listener>,
    root: tempfile::TempDir,
}

impl Plug {
    pub(crate) fn open(command: Command, limits: Limits, options: WorkerOptions) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let name = PluginName::new("fixture").expect("a name");
        let run = Run::Process {
            command: Vec::new(),
            env: Vec::new(),
        };
        let package = Package {
            manifest: Manifest::new(name.clone(), Version::new("0.1.0"), "", run),
            root: fs::canonicalize(root.path()).expect("a path"),
            limits,
            launch: Launch::Command(command),
        };
        let backend = WorkerBackend::new(options);
        Self {
            worker: backend.open_worker(package).expect("a worker"),
            name,
            host: Arc::default(),
            root,
        }
    }

    /// The plugin of `fixtures/misbehaving` in one of its modes.
    pub(crate) fn misbehaving(mode: &str, limits: Limits, options: WorkerOptions) -> Self {
        let script = fixture("misbehaving/misbehave.py");
        Self::open(python(&script, &[mode]), limits, options)
    }

    pub(crate) async fn activate(&self) -> Result<(), PluginError> {
        settle(self.worker.activate(Context {
            plugin: self.name.clone(),
            config: Json::object(),
            grants: Vec::new(),
            host: Arc::clone(&self.host) as Arc<dyn Host>,
        }))
        .await
    }

    pub(crate) async fn hook(
        &self,
        payload: Value,
        timeout: Duration,
    ) -> Result<Reply, PluginError> {
        self.call(RequestKind::Hook, "test", payload, timeout).await
    }

    pub(crate) async fn call(
        &self,
        kind: RequestKind,
        name: &str,
        payload: Value,
        timeout: Duration,
    ) -> Result<Reply, PluginError> {
        let payload = Json::from(payload);
        settle(self.worker.call(Request {
            kind,
            name,
            payload: &payload,
            deadline: Deadline {
                at: Instant::now() + timeout,
                timeout,
            },
            caller: None,
        }))
        .await
    }

    /// The processes that this plugin started and that are still there.
    pub(crate) fn survivors(&self) -> Vec<u32> {
        let root = fs::canonicalize(self.root.path()).expect("a path");
        let pair = format!("KODEX_PLUGIN_ROOT={}", root.display());
        let carries = |pid: &u32| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
                environ
                    .split(|byte| *byte == 0)
                    .any(|found| found == pair.as_bytes())
            })
        };
        fs::read_dir("/proc")
            .expect("a process table")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(carries)
            .collect()
    }
}

/// A script run by the system's Python, isolated.
pub(crate) fn python(script: &Path, args: &[&str]) -> Command {
    let mut all = vec!["-I".into(), "-S".into(), script.into()];
    all.extend(args.iter().map(Into::into));
    Command {
        program: "python3".into(),
        args: all,
        env: Vec::new(),
    }
}

pub(crate) async fn settle<T>(call: Call<'_, T>) -> Result<T, PluginError> {
    match call {
        Call::Ready(result) => result,
        Call::Pending(future) => future.await,
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up_at = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < give_up_at, "waited in vain until {what}");
        // Paces the loop around the condition.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Descriptors of this process. Means something only while nothing else runs in it.
pub(crate) fn n_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("descriptors").count()
}
