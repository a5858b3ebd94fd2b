//! Plugins that declare themselves in Python code: their manifests come from the cache, and what
//! the cache does not know from an inspector process.

use std::{path::Path, sync::Arc};

use kodex_backend::python::{Declarant, Declarations, InspectError, Inspection};
use kodex_plugin::{Diagnostic, Json, manifest};

use super::{Candidate, Declared, Judged, Place, Plan, Scope, worker::not_configured};
use crate::{
    observe::{Record, Status},
    runtime::Shared,
};

/// Learns what the candidates declare.
pub(super) async fn inspect(
    shared: &Arc<Shared>,
    plan: &Plan,
    scope: &Scope,
    candidates: Vec<(usize, Candidate)>,
) -> Vec<(usize, Judged)> {
    if candidates.is_empty() {
        return Vec::new();
    }
    let (Some(python), Some(interpreter)) = (&plan.python, &scope.interpreter) else {
        return refuse_all(candidates, &not_configured());
    };
    let interpreter = match interpreter {
        Ok(interpreter) => interpreter,
        Err(found) => return refuse_all(candidates, found),
    };
    let contexts = plan.contexts();
    let declarants: Vec<_> = candidates
        .iter()
        .map(|(_, candidate)| declarant(plan, candidate, &contexts))
        .collect();
    let declarations = Declarations {
        interpreter,
        sdk: &scope.sdk,
        cache_dir: &python.cache_dir,
        deadline: python.inspect_timeout,
        fresh_failures: python.retry_failures,
        now_unix_ms: shared.clock.unix_ms(),
    };
    let declared = declarations.read(&declarants).await;
    for found in declared.diagnostics {
        tracing::warn!(code = %found.code, "{}", found.message);
    }
    let judge = |((index, candidate), inspection)| (index, judge(candidate, inspection));
    candidates
        .into_iter()
        .zip(declared.inspections)
        .map(judge)
        .collect()
}

fn refuse_all(candidates: Vec<(usize, Candidate)>, found: &Diagnostic) -> Vec<(usize, Judged)> {
    let refuse = |candidate: Candidate| {
        Err(Record::refused(
            &candidate.source,
            Status::Error,
            found.clone(),
        ))
    };
    candidates
        .into_iter()
        .map(|(index, candidate)| (index, refuse(candidate)))
        .collect()
}

fn declarant(plan: &Plan, candidate: &Candidate, contexts: &Json) -> Declarant {
    let context = plan.default_context.clone();
    let declarant = match &candidate.place {
        Place::PythonObject {
            object,
            site_dir,
            file,
        } => Declarant::object(object.clone(), site_dir.clone(), file.clone(), context),
        Place::PythonFile(file) | Place::Manifest { file, .. } => Declarant::file(
            std::path::absolute(file).unwrap_or_else(|_| file.clone()),
            context,
        ),
        Place::Native(_) => Declarant::file(Path::new("/").to_owned(), context),
    };
    match contexts == &Json::object() {
        true => declarant,
        false => declarant.with_contexts(contexts.clone()),
    }
}

fn judge(candidate: Candidate, inspection: Inspection) -> Judged {
    let json = inspection.map_err(|error| refused(&candidate, error))?;
    let mut parsed = manifest::parse_json(json.text(), &candidate.source, true);
    // Places lie in the JSON form, which nobody wrote; in the Python file they would mislead.
    parsed
        .diagnostics
        .iter_mut()
        .for_each(|found| found.position = None);
    match parsed.manifest {
        Some(manifest) => Ok(Declared {
            candidate,
            manifest,
            notes: parsed.diagnostics,
        }),
        None => Err(Record::refused_for_all(
            &candidate.source,
            parsed.diagnostics,
        )),
    }
}

/// A module without `get_plugin()` was perhaps never meant as a plugin; everything else is an error.
fn refused(candidate: &Candidate, error: InspectError) -> Record {
    let no_plugin = error.code == "load.python.no_get_plugin";
    let (status, found) = match no_plugin {
        true => (
            Status::Skipped,
            Diagnostic::warning(error.code, error.message),
        ),
        false => (Status::Error, Diagnostic::error(error.code, error.message)),
    };
    let hint = match (no_plugin, error.traceback) {
        (true, _) => "define get_plugin(), or start the file's name with '_'".to_owned(),
        (false, Some(traceback)) => traceback.trim_end().to_owned(),
        (false, None) => "run `kodex check` on the file".to_owned(),
    };
    Record::refused(
        &candidate.source,
        status,
        found.with_file(&candidate.source).with_hint(hint),
    )
}
