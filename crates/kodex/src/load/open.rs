//! From a manifest to a live plugin: hands over to the backend of its kind. After this nothing in
//! the runtime knows which kind it was.

use std::{path::PathBuf, sync::Arc};

use kodex_backend::{Backend, Launch, NativeBackend, OpenError, Package};
use kodex_plugin::{Call, Diagnostic, Manifest, Plugin, Reply, Request, manifest::Run};

use super::{Admission, Place};

/// Opens a plugin. Nothing is started.
pub(super) fn open(
    to: &Admission<'_>,
    place: Place,
    manifest: Arc<Manifest>,
) -> Result<Arc<dyn Plugin>, Diagnostic> {
    match (place, &manifest.run) {
        (Place::Native(plugin), _) => {
            let limits = to.shared.guard.limits.clone();
            let launch = Launch::Native(plugin);
            let package = Package {
                manifest: Arc::unwrap_or_clone(manifest),
                root: PathBuf::from("/"),
                limits,
                launch,
            };
            NativeBackend.open(package).map_err(|error| refused(&error))
        }
        (_, Run::None) => Ok(Arc::new(Declaring(manifest))),
        (_, Run::Native) => Err(Diagnostic::error(
            "load.kind.native_on_disk",
            "a manifest on disk cannot bring Rust code into this program",
        )
        .with_hint("pass the plugin to `Builder::native`, or use kind = \"process\"")),
        #[cfg(feature = "worker")]
        (place, _) => to.opener.open(place, manifest),
        #[cfg(not(feature = "worker"))]
        (_, run) => Err(unsupported(run.kind())),
    }
}

fn refused(error: &OpenError) -> Diagnostic {
    Diagnostic::error(error.code(), error.to_string())
}

pub(super) fn unsupported(kind: &str) -> Diagnostic {
    Diagnostic::error(
        "load.kind.unsupported",
        format!("plugins of kind '{kind}' cannot run in this program"),
    )
    .with_hint("the kinds that run are python, process and native")
}

/// A plugin without code: it declares, and answers nothing.
struct Declaring(Arc<Manifest>);

impl Plugin for Declaring {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn call<'a>(&'a self, _: Request<'a>) -> Call<'a, Reply> {
        Call::Ready(Ok(Reply::nothing()))
    }
}
