//! The manifest of each candidate: read from its file, taken from the code, or asked of the
//! inspector.

use std::{fs, io::Read, path::Path, sync::Arc};

use kodex_plugin::{Diagnostic, manifest};

use super::{Candidate, Declared, Judged, Place, Plan, Scope};
use crate::{
    observe::{Record, Status},
    runtime::Shared,
};

/// No manifest needs more.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Judges all candidates, in their order.
pub(super) async fn judge(
    shared: &Arc<Shared>,
    plan: &Plan,
    scope: &Scope,
    candidates: Vec<Candidate>,
) -> Vec<Judged> {
    let mut judged: Vec<Option<Judged>> = Vec::with_capacity(candidates.len());
    let mut in_code = Vec::new();
    for (index, candidate) in candidates.into_iter().enumerate() {
        judged.push(match &candidate.place {
            Place::Native(plugin) => {
                let manifest = plugin.manifest().clone();
                Some(Ok(Declared {
                    manifest,
                    candidate,
                    notes: Vec::new(),
                }))
            }
            Place::Manifest { .. } => Some(read(candidate)),
            Place::PythonFile(_) | Place::PythonObject { .. } => {
                in_code.push((index, candidate));
                None
            }
        });
    }
    for (index, one) in inspect(shared, plan, scope, in_code).await {
        judged[index] = Some(one);
    }
    judged.into_iter().flatten().collect()
}

#[cfg(feature = "worker")]
use super::python::inspect;

#[cfg(not(feature = "worker"))]
async fn inspect(
    _: &Arc<Shared>,
    _: &Plan,
    _: &Scope,
    in_code: Vec<(usize, Candidate)>,
) -> Vec<(usize, Judged)> {
    let text = "this program was built without support for workers";
    let refuse = |candidate: &Candidate| {
        Record::refused(
            &candidate.source,
            Status::Error,
            Diagnostic::error("load.kind.unsupported", text),
        )
    };
    in_code
        .into_iter()
        .map(|(index, candidate)| (index, Err(refuse(&candidate))))
        .collect()
}

fn read(candidate: Candidate) -> Judged {
    let Place::Manifest { file, .. } = &candidate.place else {
        let found = Diagnostic::error("internal", "only manifest files are read here");
        return Err(Record::refused(&candidate.source, Status::Error, found));
    };
    let shown = file.display().to_string();
    let text = read_bounded(file).map_err(|found| {
        Record::refused(&candidate.source, Status::Error, found.with_file(&shown))
    })?;
    let parsed = manifest::parse_toml(&text, &shown);
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

fn read_bounded(file: &Path) -> Result<String, Diagnostic> {
    let unreadable = |error: std::io::Error| {
        Diagnostic::error(
            "load.manifest.unreadable",
            format!("the manifest cannot be read: {error}"),
        )
        .with_hint("check the permissions of the file")
    };
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(unreadable)?;
    opened
        .take(MAX_MANIFEST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        let text = format!("the manifest has more than {MAX_MANIFEST_BYTES} bytes");
        return Err(Diagnostic::error("load.manifest.too_long", text));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Diagnostic::error(
            "load.manifest.not_utf8",
            format!("the manifest is no UTF-8 (byte {at})"),
        )
        .with_hint("save the file as UTF-8")
    })
}
