//! The manifest of each candidate: read from its file, taken from the code, or asked of the
//! inspector.

use std::{fs, io::Read, path::Path, sync::Arc};

use kodex_plugin::{
    Diagnostic,
    manifest::{self, Parsed},
};

use super::{Candidate, Declared, Judged, Place, Plan, Scope};
use crate::{
    observe::{Record, Status},
    runtime::Shared,
};

/// No manifest needs more.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Judges candidates, one after another in their order.
pub(super) struct Judge {
    #[cfg(feature = "worker")]
    python: super::python::Declared,
}

impl Judge {
    /// Learns what only code declares.
    #[cfg(feature = "worker")]
    pub(super) async fn new(
        shared: &Arc<Shared>,
        plan: &Plan,
        scope: &Scope,
        candidates: &[Candidate],
    ) -> Self {
        Self {
            python: super::python::inspect(shared, plan, scope, candidates).await,
        }
    }

    #[cfg(not(feature = "worker"))]
    pub(super) async fn new(_: &Arc<Shared>, _: &Plan, _: &Scope, _: &[Candidate]) -> Self {
        Self {}
    }

    /// Judges the next candidate.
    pub(super) fn judge(&mut self, candidate: &Candidate) -> Judged {
        match &candidate.place {
            Place::Native(plugin) => Ok(Declared {
                manifest: Arc::new(plugin.manifest().clone()),
                notes: Vec::new(),
            }),
            Place::Manifest { file, .. } => read(candidate, file),
            #[cfg(feature = "worker")]
            Place::PythonFile(_) | Place::PythonObject { .. } => self.python.next(candidate),
            #[cfg(not(feature = "worker"))]
            Place::PythonFile(_) | Place::PythonObject { .. } => Err(Record::refused(
                &candidate.source,
                Status::Error,
                Diagnostic::error(
                    "load.kind.unsupported",
                    "this program was built without support for workers",
                ),
            )),
        }
    }
}

fn read(candidate: &Candidate, file: &Path) -> Judged {
    let shown = file.display().to_string();
    let text = read_bounded(file).map_err(|found| {
        Record::refused(&candidate.source, Status::Error, found.with_file(&shown))
    })?;
    declared(candidate, manifest::parse_toml(&text, &shown))
}

/// A manifest that was parsed, or why it is not usable.
pub(super) fn declared(candidate: &Candidate, parsed: Parsed) -> Judged {
    match parsed.manifest {
        Some(manifest) => Ok(Declared {
            manifest: Arc::new(manifest),
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
