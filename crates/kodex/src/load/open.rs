//! From a manifest to a live plugin: works out the command line and hands over to a backend. After
//! this nothing in the runtime knows which kind of backend it was.

use std::{path::PathBuf, sync::Arc};

use kodex_backend::{Backend, Launch, NativeBackend, Package};
use kodex_plugin::{Diagnostic, Manifest, Plugin};

use super::{Candidate, Place, Plan};
use crate::runtime::Shared;

/// Opens a plugin. Nothing is started.
pub(super) fn open(
    shared: &Arc<Shared>,
    plan: &Plan,
    candidate: &Candidate,
    manifest: Manifest,
) -> Result<Arc<dyn Plugin>, Diagnostic> {
    let limits = shared.guard.limits.clone();
    if let Place::Native(plugin) = &candidate.place {
        let launch = Launch::Native(plugin.clone());
        let package = Package { manifest, root: PathBuf::from("/"), limits, launch };
        return NativeBackend.open(package).map_err(|error| refused(&error));
    }
    #[cfg(feature = "worker")]
    {
        let root = root_of(candidate)?;
        let launch = Launch::Command(worker::command(plan, candidate, &manifest, &root)?);
        let package = Package { manifest, root, limits, launch };
        worker::open(shared, plan, package).map_err(|error| refused(&error))
    }
    #[cfg(not(feature = "worker"))]
    {
        let _ = plan;
        Err(unsupported(manifest.run.kind()))
    }
}

fn refused(error: &kodex_backend::OpenError) -> Diagnostic {
    Diagnostic::error(error.code(), error.to_string())
}

fn unsupported(kind: &str) -> Diagnostic {
    Diagnostic::error("load.kind.unsupported", format!("plugins of kind '{kind}' cannot run in this program"))
        .with_hint("this version runs the kinds python, process and native")
}

/// The plugin's root as an absolute path.
#[cfg(feature = "worker")]
fn root_of(candidate: &Candidate) -> Result<PathBuf, Diagnostic> {
    let folder = match &candidate.place {
        Place::Manifest { root, .. } => root.as_path(),
        Place::PythonFile(file) => file.parent().unwrap_or(Path::new(".")),
        Place::PythonObject { site_dir, .. } => site_dir.as_path(),
        Place::Native(_) => Path::new("/"),
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    folder.canonicalize().map_err(|error| {
        let text = format!("the plugin's folder {} cannot be opened: {error}", folder.display());
        Diagnostic::error("load.root.unreadable", text)
    })
}
