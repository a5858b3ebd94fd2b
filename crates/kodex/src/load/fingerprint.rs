//! Whether a plugin's files are still the same at a reload: their names, sizes and times. A first load
//! pays one look at each file, and a walk for each plugin with a folder of its own.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::Place;

/// Folders whose content is not the plugin's own work.
const PASSED_OVER: &[&str] = &["node_modules", "__pycache__", "target", "dist-info"];
/// A walk looks at no more files and no deeper than this; a plugin that is larger has a build step,
/// whose result lies near the root.
const MAX_FILES: usize = 1_000;
const MAX_DEPTH: usize = 4;

pub(super) fn of(place: &Place) -> u64 {
    let mut hasher = DefaultHasher::new();
    match place {
        Place::PythonFile(file) | Place::PythonObject { file, .. } => stat(file, &mut hasher),
        Place::Manifest { file, root }
            if file.file_name().is_some_and(|name| name == "kodex.toml") =>
        {
            walk(root, 0, &mut 0, &mut hasher);
        }
        Place::Manifest { file, .. } => stat(file, &mut hasher),
        Place::Native(plugin) => std::sync::Arc::as_ptr(plugin)
            .cast::<()>()
            .hash(&mut hasher),
    }
    hasher.finish()
}

fn stat(file: &Path, hasher: &mut DefaultHasher) {
    if let Ok(meta) = fs::metadata(file) {
        (meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ino()).hash(hasher);
    }
}

fn walk(folder: &Path, depth: usize, n_files: &mut usize, hasher: &mut DefaultHasher) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if hidden || PASSED_OVER.iter().any(|skip| name == *skip) || *n_files >= MAX_FILES {
            continue;
        }
        let path = folder.join(&name);
        name.hash(hasher);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() && depth < MAX_DEPTH => {
                walk(&path, depth + 1, n_files, hasher)
            }
            Ok(_) => {
                *n_files += 1;
                stat(&path, hasher);
            }
            Err(_) => {}
        }
    }
}
