//! What many calls in flight gain when worker and host are on two processors: each works while the
//! other does, and a wake-up serves several calls.

use anyhow::Result;

use super::{BENCH, LANES, Turns, bare::Bare, language::Language, with, workers::Worker};
use crate::{
    machine::{self, Processors},
    report::{Figure, Report},
    size::Size,
};

/// Calls in one turn.
const CALLS: usize = 800;

/// Measures one language.
pub(super) fn measure(
    report: &mut Report,
    size: Size,
    language: &Language,
    processors: Processors,
    share: f64,
) -> Result<()> {
    let worker = Worker::start(&language.plugin)?;
    let mut bare = Bare::start(&language.bare)?;
    let n_calls = size.count(CALLS);
    worker.turn(1, n_calls)?;
    bare.turn(1, n_calls)?;
    let far = processors.far.unwrap_or(processors.near);
    machine::move_process(worker.pid()?, far)?;
    machine::move_process(bare.pid(), far)?;
    let [mut one, mut many, mut limit] = [(); 3].map(|()| Turns::default());
    for _ in size.rounds(20, share) {
        one.push(worker.turn(1, n_calls)?);
        limit.push(bare.turn(LANES, n_calls)?);
        many.push(worker.turn(LANES, n_calls)?);
    }
    let case = format!("{}_calls_8_apart", language.name);
    let figure = Figure::higher(BENCH, &case, "1/s", &many.per_second)
        .peer("the same worker, one at a time", &one.per_second)
        .limit(
            &format!("bare loop in {}", language.name),
            &limit.per_second,
        );
    report.add(&with(figure, language.targets.apart));
    Ok(())
}
