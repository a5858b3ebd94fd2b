//! Plugins that declare themselves in Python code: their manifests come from the cache, and what
//! the cache does not know from an inspector process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use kodex_backend::python::{Answer, Declarant, Declarations, InspectError};
use kodex_plugin::{Diagnostic, manifest};

use super::{Candidate, Judged, Place, Plan, Scope, manifest::declared, worker::not_configured};
use crate::{
    observe::{Record, Status},
    runtime::Shared,
};

/// What Python plugins declare, in the order of the candidates.
pub(super) enum Declared {
    /// Nothing: why, for each of them.
    Refused(Diagnostic),
    /// One answer for each.
    Answers(std::vec::IntoIter<Answer>),
}

impl Declared {
    /// Judges the next candidate.
    pub(super) fn next(&mut self, candidate: &Candidate) -> Judged {
        match self {
            Self::Refused(found) => Err(error(candidate, found.clone())),
            Self::Answers(answers) => match answers.next() {
                Some(answer) => judge(candidate, answer),
                None => {
                    let text = "the inspector said nothing about it";
                    Err(error(candidate, Diagnostic::error("internal", text)))
                }
            },
        }
    }
}

fn error(candidate: &Candidate, found: Diagnostic) -> Record {
    Record::refused(&candidate.source, Status::Error, found)
}

/// Learns what the Python plugins among the candidates declare.
pub(super) async fn inspect(
    shared: &Arc<Shared>,
    plan: &Plan,
    scope: &Scope,
    candidates: &[Candidate],
) -> Declared {
    let mut folder = Folder::default();
    let declarant = |candidate: &Candidate| declarant(candidate, &mut folder);
    let declarants: Vec<_> = candidates.iter().filter_map(declarant).collect();
    if declarants.is_empty() {
        return Declared::Answers(Vec::new().into_iter());
    }
    let (Some(python), Some(interpreter)) = (&plan.python, &scope.interpreter) else {
        return Declared::Refused(not_configured());
    };
    let interpreter = match interpreter {
        Ok(interpreter) => interpreter,
        Err(found) => return Declared::Refused(found.clone()),
    };
    let declarations = Declarations {
        interpreter,
        sdk: &scope.sdk,
        contexts: &plan.contexts(),
        cache_dir: &python.cache_dir,
        deadline: python.inspect_timeout,
        fresh_failures: python.retry_failures,
        now_unix_ms: shared.clock.unix_ms(),
    };
    let declared = declarations.read(&declarants).await;
    for found in declared.diagnostics {
        tracing::warn!(code = %found.code, "{}", found.message);
    }
    Declared::Answers(declared.answers.into_iter())
}

fn declarant(candidate: &Candidate, folder: &mut Folder) -> Option<Declarant> {
    match &candidate.place {
        Place::PythonObject {
            object,
            site_dir,
            file,
        } => Some(Declarant::object(
            object.clone(),
            site_dir.clone(),
            file.clone(),
        )),
        Place::PythonFile(file) => Some(Declarant::file(folder.absolute(file))),
        Place::Manifest { .. } | Place::Native(_) => None,
    }
}

/// The last folder that was made absolute, with its absolute path.
#[derive(Default)]
struct Folder(Option<(PathBuf, PathBuf)>);

impl Folder {
    fn absolute(&mut self, file: &Path) -> PathBuf {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
            return std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        };
        if let Some((known, absolute)) = &self.0
            && known.as_os_str() == folder.as_os_str()
        {
            return absolute.join(name);
        }
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let parent = absolute.parent().unwrap_or(folder).to_owned();
        self.0 = Some((folder.to_owned(), parent));
        absolute
    }
}

fn judge(candidate: &Candidate, answer: Answer) -> Judged {
    let declaration = answer.map_err(|error| refused(candidate, error))?;
    let mut parsed = manifest::parse_json(declaration.text(), &candidate.source, true);
    // Places lie in the JSON form, which nobody wrote; in the Python file they would mislead.
    parsed
        .diagnostics
        .iter_mut()
        .for_each(|found| found.position = None);
    declared(candidate, parsed)
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
