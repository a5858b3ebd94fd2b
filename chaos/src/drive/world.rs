//! The folder of one run: plugins, configuration, logs, and the environment of everything in it.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Short times, so that a run of seconds sees many leases end; and so many attempts and crashes that no
/// item which can succeed is given up.
const CONFIG: &str = r#"
[work]
n_runs = 3
n_jobs = 6
lease = "1500ms"
sweep = "200ms"
poll = "100ms"
pauses = ["50ms"]
attempts = 500
crashes = 500
job_timeout = "20s"

# What crashed is asked again soon.
[guard.breaker]
open_for = "300ms"
open_cap = "1s"

[heartbeat]
each = "4s"
total = "5s"

[runner]
command = ["sh", "agent.sh"]
timeout = "60s"

[plugin.kodex-scheduler.context]
runs_per_heartbeat = 25
"#;
const PLUGIN: &str = include_str!("../../plugins/chaos.py");
const AGENT: &str = include_str!("../../plugins/agent.sh");

/// One run's folder. Dropping it ends every process that works in it.
pub(super) struct World {
    folder: Option<tempfile::TempDir>,
    root: PathBuf,
    kodex: PathBuf,
    env: Vec<(OsString, OsString)>,
}

impl World {
    pub(super) fn new(kodex: &Path, keep: bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kodex-chaos-").tempdir()?;
        let root = fs::canonicalize(folder.path())?;
        let folder = match keep {
            true => {
                let _ = folder.keep();
                None
            }
            false => Some(folder),
        };
        let kodex = fs::canonicalize(kodex)
            .with_context(|| format!("there is no program {}", kodex.display()))?;
        for name in ["home", "tmp", "work/plugins", "work/.kodex"] {
            fs::create_dir_all(root.join(name))?;
        }
        let mut env: Vec<(OsString, OsString)> =
            ["PATH", "PYENV_ROOT", "PYENV_VERSION", "VIRTUAL_ENV"]
                .into_iter()
                .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
                .collect();
        env.push(("HOME".into(), root.join("home").into()));
        env.push(("TMPDIR".into(), root.join("tmp").into()));
        env.push(("KODEX_CACHE_DIR".into(), root.join("cache").into()));
        env.push(("CI".into(), "true".into()));
        let world = Self {
            folder,
            root,
            kodex,
            env,
        };
        let said = world.said().display().to_string();
        fs::write(world.said(), "")?;
        fs::write(
            world.work().join("plugins/chaos.py"),
            PLUGIN.replace("@SAID@", &said),
        )?;
        fs::write(
            world.work().join("agent.sh"),
            AGENT.replace("@SAID@", &said),
        )?;
        fs::write(world.work().join(".kodex/config.toml"), CONFIG)?;
        Ok(world)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    /// What plugins and agents say, appended by all of them.
    pub(super) fn said(&self) -> PathBuf {
        self.root.join("said.jsonl")
    }

    /// The program with an environment of its own, under an end of this one: when the thread that starts
    /// it is gone, it is killed. A write beyond a limit on files is an error and no signal.
    pub(super) fn command(&self, store: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "sh", "-c"])
            .arg("trap '' XFSZ; exec \"$@\"")
            .arg("sh")
            .arg(&self.kodex)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KODEX_DATABASE_URL", store)
            .current_dir(self.work())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end and gives what it printed.
    pub(super) fn run(
        &self,
        store: &str,
        args: &[&str],
        env: &[(String, OsString)],
    ) -> Result<String> {
        let mut command = self.command(store);
        command.args(args);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context("starting kodex")?;
        let pid = Pid::from_child(&child);
        let output = child.wait_with_output()?;
        super::clock::sweep(pid);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("kodex {}: {said}", args.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What nodes left behind when they were killed: workers and agents work in the folder.
        for pid in inside(&self.root) {
            let _ = kill_process(pid, Signal::KILL);
        }
        match self.folder.take() {
            Some(folder) => drop(folder.close()),
            None => eprintln!("the folder stays: {}", self.root.display()),
        }
    }
}

/// The processes whose working directory lies in a folder.
fn inside(folder: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let place = fs::read_link(entry.path().join("cwd")).ok()?;
            place.starts_with(folder).then(|| Pid::from_raw(pid))?
        })
        .collect()
}
