//! Folders of plugins and of installed packages, made for a bench.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::programs::{Programs, command, whole};

/// Python plugins of the form that the first runtime has, each a little different.
pub(crate) fn plugins(folder: &Path, n_plugins: usize) -> Result<()> {
    fs::create_dir_all(folder)?;
    for index in 0..n_plugins {
        fs::write(
            folder.join(format!("p{index:04}.py")),
            plugin(&format!("plugin-{index}"), index),
        )?;
    }
    Ok(())
}

fn plugin(name: &str, index: usize) -> String {
    let capability = index % 20;
    format!(
        r#"import json
import pathlib
import re

from kodex_plugin_system.base import PluginManifest


class Enricher:
    manifest = PluginManifest(
        name="{name}",
        version="1.0.{index}",
        description="Example plugin number {index}.",
        capabilities=("prompt.preprocess", "example.c{capability}"),
    )

    def activate(self, context):
        self.context = context

    def handle_hook(self, hook, payload):
        if hook != "prompt.preprocess":
            return None
        return {{"plugin": self.manifest.name, "text": payload["text"]}}


def get_plugin():
    return Enricher()
"#
    )
}

/// A virtual environment with nothing in it.
pub(crate) fn environment(folder: &Path, programs: &Programs) -> Result<()> {
    whole(
        command(&programs.python)
            .args(["-m", "venv", "--without-pip"])
            .arg(folder),
    )
    .map(drop)
}

/// Installed distributions, as `pip` leaves them; one in ten offers a plugin, which is there.
pub(crate) fn distributions(environment: &Path, n_distributions: usize) -> Result<()> {
    let site = site(environment)?;
    for index in 0..n_distributions {
        let folder = site.join(format!("example_{index}-1.0.dist-info"));
        fs::create_dir_all(&folder)?;
        let metadata = format!("Metadata-Version: 2.1\nName: example-{index}\nVersion: 1.0\n");
        fs::write(folder.join("METADATA"), metadata)?;
        fs::write(folder.join("RECORD"), "")?;
        let points = if index % 10 == 0 {
            fs::write(
                site.join(format!("offered{index}.py")),
                plugin(&format!("offered-{index}"), index),
            )?;
            format!("[kodex.plugins]\np{index} = offered{index}:get_plugin\n")
        } else {
            format!("[console_scripts]\nc{index} = os.path:join\n")
        };
        fs::write(folder.join("entry_points.txt"), points)?;
    }
    Ok(())
}

fn site(environment: &Path) -> Result<PathBuf> {
    let lib = environment.join("lib");
    let versions = fs::read_dir(&lib).with_context(|| lib.display().to_string())?;
    let mut sites = versions
        .flatten()
        .map(|entry| entry.path().join("site-packages"));
    sites
        .find(|site| site.is_dir())
        .context("a virtual environment without site-packages")
}
