//! Resident memory of a runtime that loaded a hundred Python plugins and waits.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    programs::{Programs, command, output, script, sibling},
    report::{Figure, Report},
    samples::Samples,
    size::Size,
    world,
};

const N_PLUGINS: usize = 100;

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let n_plugins = size.count(N_PLUGINS);
    let folder = programs.scratch.path().join("plugins");
    world::plugins(&folder, n_plugins)?;
    let idle = || {
        let mut command = command(sibling("kodex-bench-role")?);
        command
            .arg("idle")
            .arg(&programs.python)
            .arg(programs.cache());
        anyhow::Ok(command)
    };
    // The first load starts Python to learn what the plugins declare; an idle runtime found it in the cache.
    resident_mb(&output(idle()?.arg(&folder))?, n_plugins)?;
    let [mut ours, mut empty, mut first] = [const { Vec::new() }; 3].map(Samples::from);
    for _ in size.rounds(5, 0.5) {
        ours.push(resident_mb(&output(idle()?.arg(&folder))?, n_plugins)?);
        empty.push(resident_mb(&output(&mut idle()?)?, 0)?);
        let mut resident = command(&programs.python);
        resident
            .arg(script("resident.py"))
            .arg(&programs.sdk)
            .arg(&folder);
        first.push(resident_mb(&output(&mut resident)?, n_plugins)?);
    }
    report.add(
        &Figure::lower("memory", "idle_100", "MB", &ours)
            .peer("the first runtime", &first)
            .limit("a runtime without plugins", &empty)
            .target("value<=12"),
    );
    Ok(())
}

fn resident_mb(answer: &str, n_plugins: usize) -> Result<f64> {
    let answer: Value = serde_json::from_str(answer).context("no JSON from an idle process")?;
    if answer["plugins"] != n_plugins {
        bail!("{n_plugins} plugins were to be loaded: {answer}");
    }
    let kb = answer["resident_kb"]
        .as_f64()
        .context("no memory in the answer")?;
    Ok(kb * 1024.0 / 1e6)
}
