//! Finding the program of a worker and starting it.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use kodex_plugin::{PluginError, PluginName};

use super::WorkerOptions;
use crate::{
    Command, codes,
    environment::environment,
    supervise::{self, Running, Spec},
};

/// Starts the process of a plugin. Must be called inside the runtime.
pub(super) fn start(
    plugin: &PluginName,
    root: &Path,
    command: &Command,
    options: &WorkerOptions,
) -> Result<Running, PluginError> {
    let program = find(&command.program, root, &options.path)?;
    let spec = Spec {
        args: command.args.clone(),
        env: environment(plugin, root, &options.path, &command.env),
        cwd: root.to_owned(),
        mark: supervise::mark(),
        program,
    };
    supervise::spawn(&spec).map_err(|error| refused(&spec, &error))
}

fn find(program: &Path, root: &Path, path: &OsStr) -> Result<PathBuf, PluginError> {
    let is_bare = program.components().count() == 1 && !program.as_os_str().is_empty();
    if !is_bare {
        return Ok(root.join(program));
    }
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
        .ok_or_else(|| {
            codes::SPAWN_NOT_FOUND.error(format!(
                "the program {} was not found in {}; install it, or name it with a path relative to \
                 the plugin's folder",
                program.display(),
                path.display()
            ))
        })
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn refused(spec: &Spec, error: &io::Error) -> PluginError {
    let program = spec.program.display();
    match error.kind() {
        io::ErrorKind::NotFound if !spec.cwd.is_dir() => codes::SPAWN_NOT_FOUND.error(format!(
            "the program {program} was not started: the plugin's folder {} is not there",
            spec.cwd.display()
        )),
        // The kernel says the same of a script whose interpreter is missing.
        io::ErrorKind::NotFound if spec.program.exists() => codes::SPAWN_NOT_FOUND.error(format!(
            "the program {program} is there, but the interpreter that its first line names is not"
        )),
        io::ErrorKind::NotFound => {
            codes::SPAWN_NOT_FOUND.error(format!("there is no program {program}"))
        }
        io::ErrorKind::PermissionDenied => codes::SPAWN_DENIED.error(format!(
            "the program {program} may not be started; is it executable?"
        )),
        _ => codes::SPAWN_FAILED.error(format!("the program {program} was not started: {error}")),
    }
}
