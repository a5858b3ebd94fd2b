//! A folder of its own for each test, with an environment of its own, and the program run in it.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, mknodat},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use tempfile::TempDir;

/// No run of the program here takes nearly this long; a test that waits longer hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The plugin of the first runtime's documentation.
pub(crate) const ENRICHER: &str = r#"
from kodex_plugin_system.base import PluginManifest

class Enricher:
    manifest = PluginManifest(
        name="context-enricher",
        version="0.1.0",
        description="Adds extra prompt context before execution.",
        capabilities=("prompt.preprocess", "context.enrich"),
    )

    def activate(self, context):
        self.org = context.get("org", "default-org")

    def handle_hook(self, hook, payload):
        if hook != "prompt.preprocess":
            return None
        return {"plugin": "context-enricher", "text": f"[{self.org}] {payload.get('text', '')}".strip()}

def get_plugin():
    return Enricher()
"#;

/// A plugin in the first runtime's form whose hook runs `body` with `hook` and `payload`.
pub(crate) fn plugin(name: &str, body: &str) -> String {
    format!(
        "from kodex_plugin_system.base import PluginManifest\n\
         class P:\n    manifest = PluginManifest(name={name:?}, version='1.0.0', description='Does {name}.')\n    \
         def activate(self, context): pass\n    \
         def handle_hook(self, hook, payload):\n        {body}\n\
         def get_plugin(): return P()\n"
    )
}

/// One test's folder.
pub(crate) struct World {
    folder: TempDir,
    env: Vec<(OsString, OsString)>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The exit status; -1 when a signal ended the program.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "the program needs this machine's search path"
    )]
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a home");
        let given = ["PATH", "PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"];
        let passed = given
            .into_iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)));
        let mut env: Vec<(OsString, OsString)> = passed.collect();
        env.push(("HOME".into(), home.into_os_string()));
        env.push((
            "KODEX_CACHE_DIR".into(),
            folder.path().join("cache").into_os_string(),
        ));
        // A machine that is busy would show a sign of life in any test.
        env.push(("CI".into(), "true".into()));
        let world = Self { folder, env };
        fs::create_dir(world.work()).expect("a working directory");
        world
    }

    /// A world with files in the working directory.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::new();
        for (path, text) in files {
            world.write(path, text);
        }
        world
    }

    pub(crate) fn set(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.env.retain(|(known, _)| known != name);
        self
    }

    /// The working directory.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.work().join(path)).expect(path)
    }

    /// The program, ready to start.
    #[expect(
        clippy::disallowed_methods,
        reason = "the program itself is under test"
    )]
    pub(crate) fn command<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kodex"));
        command
            .args(argv)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
            .current_dir(self.work())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with arguments that are separated by blanks.
    pub(crate) fn run(&self, argv: &str) -> Done {
        self.args(argv.split_whitespace())
    }

    pub(crate) fn args<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Done {
        finished(self.command(argv).spawn().expect("the program starts"))
    }

    /// A pipe with a name, which a plugin can open to say that it has come so far.
    pub(crate) fn fifo(&self, name: &str) -> Fifo {
        let path = self.folder.path().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a fifo");
        Fifo { path }
    }
}

/// Waits for the end of a program.
pub(crate) fn finished(child: Child) -> Done {
    let pid = pid(&child);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || drop(tell.send(child.wait_with_output())));
    let Ok(output) = told.recv_timeout(DEADLINE) else {
        let _ = kill_process(pid, Signal::KILL);
        panic!("the program does not end");
    };
    let output = output.expect("output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done {
        status: output.status,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id")).expect("a process id")
}

/// A pipe with a name.
pub(crate) struct Fifo {
    path: PathBuf,
}

impl Fifo {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything that somebody writes into it until they close it.
    pub(crate) fn read(&self) -> String {
        let (path, (tell, told)) = (self.path.clone(), mpsc::channel());
        std::thread::spawn(move || drop(tell.send(fs::read_to_string(path))));
        told.recv_timeout(DEADLINE)
            .expect("somebody writes into the fifo")
            .expect("text")
    }
}

/// Another process, watched until it ends.
pub(crate) struct Watched {
    handle: std::os::fd::OwnedFd,
}

impl Watched {
    pub(crate) fn new(pid: &str) -> Self {
        Self::find(pid).expect("a process that is there")
    }

    /// None when it has ended already.
    pub(crate) fn find(pid: &str) -> Option<Self> {
        let pid = pid.trim().parse().ok();
        let pid = pid.and_then(Pid::from_raw).expect("a process id");
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { handle })
    }

    /// Whether it ends within a few seconds.
    pub(crate) fn ends(&self) -> bool {
        let mut polled = [PollFd::new(&self.handle, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        poll(&mut polled, Some(&patience)).expect("poll") > 0
    }
}

/// Lines of a running program, each within the deadline.
pub(crate) struct Lines {
    told: mpsc::Receiver<String>,
}

impl Lines {
    pub(crate) fn new(mut stream: impl Read + Send + 'static) -> Self {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|n| n == 1) {
                text.push(byte[0]);
                if byte[0] == b'\n'
                    && tell
                        .send(String::from_utf8_lossy(&std::mem::take(&mut text)).into_owned())
                        .is_err()
                {
                    return;
                }
            }
        });
        Self { told }
    }

    /// Reads on until a line holds the text.
    pub(crate) fn until(&self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let Ok(line) = self.told.recv_timeout(DEADLINE) else {
                panic!("no line with {text:?} in {seen:?}")
            };
            if line.contains(text) {
                return line;
            }
            seen += &line;
        }
    }
}

/// The Python that the program finds on this machine.
pub(crate) struct Python {
    pub(crate) program: PathBuf,
    /// Its folder.
    pub(crate) home: String,
    /// Major and minor.
    pub(crate) version: String,
}

impl World {
    pub(crate) fn python(&self) -> Python {
        self.write("probe/p.py", plugin("probe", "return None"));
        let done = self.run("--plugin-dir probe --json doctor --full");
        let line = done
            .stdout
            .lines()
            .find(|line| line.trim_start().starts_with("\"python\":"))
            .expect("an interpreter");
        let program = PathBuf::from(line.split('"').nth(3).expect("a path"));
        let name = program
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        Python {
            home: program.parent().expect("a folder").display().to_string(),
            version: name.trim_start_matches("python").to_owned(),
            program,
        }
    }
}
