//! Where a plugin's migrations are, and whether they are all applied.

use std::path::{Path, PathBuf};

use kodex_plugin::{HostError, Manifest, PluginName};
use kodex_store::{
    Applied, Engine, Step, Store,
    journal::{self, Problem},
};

use crate::discover::Place;

/// The files of one plugin's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Journal {
    /// A folder of the package.
    Folder(PathBuf),
    /// Names and texts that are linked into the program.
    Linked(&'static [(&'static str, &'static str)]),
}

impl Journal {
    /// The journal of a plugin that declares a database. The folder is relative to the plugin's root:
    /// the folder of its manifest or file, or that of its top package.
    pub(crate) fn of(place: &Place, manifest: &Manifest) -> Option<Self> {
        let migrations = &manifest.database.as_ref()?.migrations;
        let beside = |file: &Path| file.parent().unwrap_or(Path::new(".")).join(migrations);
        Some(match place {
            Place::Native(plugin) => Self::Linked(plugin.migrations()),
            Place::Manifest { root, .. } => Self::Folder(root.join(migrations)),
            Place::PythonFile(file) => Self::Folder(beside(file)),
            Place::PythonObject {
                object, site_dir, ..
            } => {
                let package = object.split(['.', ':']).next().unwrap_or(object);
                Self::Folder(site_dir.join(package).join(migrations))
            }
        })
    }

    /// The steps for an engine.
    pub(crate) fn steps(
        &self,
        plugin: &PluginName,
        engine: Engine,
    ) -> Result<Vec<Step>, Vec<Problem>> {
        match self {
            Self::Folder(folder) => journal::read(plugin, folder, engine),
            Self::Linked(files) => journal::linked(plugin, files, engine),
        }
    }

    /// Fails, naming plugin and files, when the journal is behind or cannot be compared.
    pub(crate) async fn check(
        &self,
        store: &dyn Store,
        plugin: &PluginName,
    ) -> Result<(), HostError> {
        let applied = store.ledger().applied(plugin).await;
        let applied = applied.map_err(|error| HostError::new(error.code(), error.to_string()))?;
        self.compare(store.engine(), plugin, &applied)
    }

    fn compare(
        &self,
        engine: Engine,
        plugin: &PluginName,
        applied: &[Applied],
    ) -> Result<(), HostError> {
        let steps = self
            .steps(plugin, engine)
            .map_err(|problems| broken(&problems))?;
        let plan = journal::plan(plugin, &steps, applied).map_err(|problems| broken(&problems))?;
        if plan.pending.is_empty() {
            return Ok(());
        }
        let files: Vec<_> = plan.pending.iter().map(|step| step.file.as_str()).collect();
        let text = format!(
            "plugin {plugin}: {} of its migrations are not applied: {}; run `kodex upgrade`",
            files.len(),
            files.join(", ")
        );
        Err(HostError::new("journal.behind", text))
    }
}

fn broken(problems: &[Problem]) -> HostError {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let code = problems.first().map_or("journal.unreadable", Problem::code);
    HostError::new(code, texts.join("; "))
}
