//! The first call of a Python plugin: start of its process, handshake, reply.

use anyhow::Result;

use super::{BENCH, plugins, workers::Worker};
use crate::{
    programs::{Programs, command, whole},
    report::{Figure, Report},
    samples::{Samples, ms},
    size::Size,
};

/// Imports what the plugin imports and runs its module: the least that starting it can be.
const IMPORT: &str = "import sys
sys.path.insert(0, sys.argv[1])
with open(sys.argv[2], 'rb') as file:
    exec(compile(file.read(), sys.argv[2], 'exec'), {'__name__': 'plugin'})";

/// Measures activation.
pub(super) fn measure(
    report: &mut Report,
    size: Size,
    programs: &Programs,
    share: f64,
) -> Result<()> {
    let plugin = plugins::python(programs)?;
    let mut import = command(&programs.python);
    import
        .args(["-I", "-c", IMPORT])
        .arg(&programs.sdk)
        .arg(plugin.path());
    // Once before, so that what is compiled once is compiled, and what is declared is known.
    Worker::start(&plugin)?.first()?;
    whole(&mut import)?;
    let [mut ours, mut limit] = [const { Vec::new() }; 2].map(Samples::from);
    for _ in size.rounds(30, share) {
        ours.push(Worker::start(&plugin)?.first()? / 1e3);
        limit.push(ms(whole(&mut import)?));
    }
    report.add(
        &Figure::lower(BENCH, "activation_python", "ms", &ours)
            .limit("python3 -I that imports the plugin", &limit)
            .target("ratio_limit<=1.5"),
    );
    Ok(())
}
