//! The plugins that are called: one folder for each language, made anew for each run.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use kodex::{GuardSettings, Limits, Python, Runtime, python::Search};

use super::LANES;
use crate::{
    native::HOOK,
    programs::{Programs, sibling},
    roles,
};

const PYTHON: &str = include_str!("../../plugins/bench_python.py");
const NODE: &str = include_str!("../../plugins/bench_node.mjs");
/// What a plugin in Node copies beside itself.
const NODE_LOOP: &str = include_str!("../../../../examples/todo-node/kodex.mjs");

/// A plugin on disk.
#[derive(Debug, Clone)]
pub(super) struct Plugin {
    path: PathBuf,
    python: Arc<Python>,
}

impl Plugin {
    fn new(path: PathBuf, programs: &Programs) -> Self {
        let search = Search {
            configured: Some(programs.python.clone()),
            ..Search::default()
        };
        let python = Arc::new(Python {
            entry_points: false,
            ..Python::new(search, programs.cache())
        });
        Self { path, python }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A runtime with this plugin alone, not yet active.
    pub(super) async fn runtime(&self) -> Result<Runtime> {
        // By default a plugin gets four calls at a time; here eight are to be in flight.
        let limits = Limits {
            concurrency: LANES as u32,
            ..Limits::default()
        };
        let guard = GuardSettings {
            limits,
            ..GuardSettings::default()
        };
        let builder = Runtime::builder()
            .strict(true)
            .guard(guard)
            .python((*self.python).clone());
        Ok(builder.plugin(&self.path).build().await?)
    }
}

pub(super) fn python(programs: &Programs) -> Result<Plugin> {
    let file = programs.scratch.path().join("bench_python.py");
    fs::write(&file, PYTHON)?;
    Ok(Plugin::new(file, programs))
}

pub(super) fn node(programs: &Programs, node: &Path) -> Result<Plugin> {
    let folder = programs.scratch.path().join("bench-node");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("kodex.mjs"), NODE_LOOP)?;
    fs::write(folder.join("plugin.mjs"), NODE)?;
    process("bench-node", &folder, node, "plugin.mjs")?;
    Ok(Plugin::new(folder, programs))
}

pub(super) fn rust(programs: &Programs) -> Result<Plugin> {
    let folder = programs.scratch.path().join(roles::RUST);
    fs::create_dir_all(&folder)?;
    process(roles::RUST, &folder, &sibling("kodex-bench-role")?, "serve")?;
    Ok(Plugin::new(folder, programs))
}

/// Writes the manifest of a plugin in a process. A manifest names programs inside of the plugin's folder,
/// so the program is linked there.
fn process(name: &str, folder: &Path, program: &Path, argument: &str) -> Result<()> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin)?;
    symlink(program, bin.join("program"))?;
    let manifest = format!(
        r#"manifest = 1

[plugin]
name = "{name}"
version = "1.0.0"
description = "Approves."

[run]
kind = "process"
command = ["bin/program", "{argument}"]

[[hook]]
on = "{HOOK}"
"#
    );
    Ok(fs::write(folder.join("kodex.toml"), manifest)?)
}
