//! A list of named parts, run one after the other, with a summary at the end.
//!
//! Every part runs, whatever happened before it: one red part must not hide a second one.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// One named piece of work that passes or fails.
pub(crate) struct Part {
    pub(crate) name: String,
    work: Box<dyn FnOnce() -> Result<()>>,
}

impl Part {
    pub(crate) fn new(
        name: impl Into<String>,
        work: impl FnOnce() -> Result<()> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
        }
    }
}

/// What became of one part.
struct Finished {
    name: String,
    error: Option<String>,
    took: Duration,
}

/// Runs the parts whose names are wanted (all when none is named) and prints a summary.
pub(crate) fn run(parts: Vec<Part>, wanted: &[String]) -> Result<ExitCode> {
    let finished: Vec<Finished> = select(parts, wanted)?.into_iter().map(finish).collect();
    eprint!("\n{}", summary(&finished));
    Ok(if finished.iter().any(|part| part.error.is_some()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn select(parts: Vec<Part>, wanted: &[String]) -> Result<Vec<Part>> {
    if wanted.is_empty() {
        return Ok(parts);
    }
    if let Some(unknown) = wanted
        .iter()
        .find(|name| parts.iter().all(|part| part.name != **name))
    {
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        bail!(
            "no part is named `{unknown}`; there are: {}",
            names.join(", ")
        );
    }
    Ok(parts
        .into_iter()
        .filter(|part| wanted.contains(&part.name))
        .collect())
}

fn finish(part: Part) -> Finished {
    eprintln!("\n==> {}", part.name);
    let started_at = Instant::now();
    let error = (part.work)().err().map(|error| format!("{error:#}"));
    if let Some(error) = &error {
        eprintln!("{}: {error}", part.name);
    }
    Finished {
        name: part.name,
        error,
        took: started_at.elapsed(),
    }
}

fn summary(finished: &[Finished]) -> String {
    let width = finished
        .iter()
        .map(|part| part.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for part in finished {
        let result = if part.error.is_some() { "FAILED" } else { "ok" };
        let seconds = part.took.as_secs_f64();
        text += &format!("{:width$}  {result:6}  {seconds:8.1} s\n", part.name);
    }
    let n_failed = finished.iter().filter(|part| part.error.is_some()).count();
    text += &match n_failed {
        0 => format!("{} parts, all passed\n", finished.len()),
        _ => format!("{} parts, {n_failed} failed\n", finished.len()),
    };
    for part in finished {
        if let Some(error) = &part.error {
            let first = error.lines().next().unwrap_or_default();
            text += &format!("  {}: {first}\n", part.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    fn counted(name: &str, passes: bool, n_runs: &Rc<Cell<u32>>) -> Part {
        let n_runs = Rc::clone(n_runs);
        Part::new(name, move || {
            n_runs.set(n_runs.get() + 1);
            if passes { Ok(()) } else { bail!("broken") }
        })
    }

    #[test]
    fn a_failing_part_does_not_hide_the_others() {
        let n_runs = Rc::default();
        let parts = vec![
            counted("one", false, &n_runs),
            counted("two", true, &n_runs),
        ];
        assert_eq!(run(parts, &[]).unwrap(), ExitCode::FAILURE);
        assert_eq!(n_runs.get(), 2);
    }

    #[test]
    fn only_the_wanted_parts_run() {
        let n_runs = Rc::default();
        let parts = vec![
            counted("one", false, &n_runs),
            counted("two", true, &n_runs),
        ];
        assert_eq!(run(parts, &["two".to_owned()]).unwrap(), ExitCode::SUCCESS);
        assert_eq!(n_runs.get(), 1);
    }

    #[test]
    fn an_unknown_part_is_an_error_that_names_the_known_ones() {
        let parts = vec![counted("one", true, &Rc::default())];
        let error = run(parts, &["two".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "no part is named `two`; there are: one");
    }

    #[test]
    fn the_summary_names_what_failed() {
        let finished = [
            Finished {
                name: "a".into(),
                error: None,
                took: Duration::from_millis(1500),
            },
            Finished {
                name: "bc".into(),
                error: Some("no\nmore".into()),
                took: Duration::ZERO,
            },
        ];
        assert_eq!(
            summary(&finished),
            "a   ok           1.5 s\nbc  FAILED       0.0 s\n2 parts, 1 failed\n  bc: no\n"
        );
    }
}
