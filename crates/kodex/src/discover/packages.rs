//! Installed Python packages with entry points in the group `kodex.plugins`, found by reading their
//! metadata. Python is not started.

use std::path::PathBuf;

use kodex_backend::python;

use super::{Candidate, Discovered, Place};

/// Adds the candidates of the site directories.
pub(super) fn scan(site_dirs: &[PathBuf], found: &mut Discovered) {
    if site_dirs.is_empty() {
        return;
    }
    let scanned = python::entry_points(site_dirs, python::GROUP);
    found.diagnostics.extend(scanned.diagnostics);
    for point in scanned.entry_points {
        found.candidates.push(Candidate {
            source: format!("entrypoint:{}", point.name),
            place: Place::PythonObject {
                object: format!("{}:{}", point.module, point.attr),
                site_dir: point.site_dir,
                file: point.file,
            },
        });
    }
}
