//! The native backend: Rust code of the embedding program, handed through.
//!
//! It adds nothing to a call. Deadline, limits and the panic catch are the dispatcher's.

use std::sync::Arc;

use kodex_plugin::Plugin;

use crate::{Backend, Launch, OpenError, Package};

/// Opens packages that carry their plugin with them.
#[derive(Debug, Clone, Copy, Default)]
pub struct NativeBackend;

impl Backend for NativeBackend {
    fn kind(&self) -> &'static str {
        "native"
    }

    fn open(&self, package: Package) -> Result<Arc<dyn Plugin>, OpenError> {
        match package.launch {
            Launch::Native(plugin) => Ok(plugin),
            Launch::Command(_) => Err(OpenError::Launch {
                plugin: package.manifest.name,
                backend: "native",
                wanted: "a plugin that is compiled into this program",
            }),
        }
    }
}
