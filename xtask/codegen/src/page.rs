//! One generated file, and the comparison of all of them with what is there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Folders in which every file is generated; others in them are left over.
const OWNED: &[&str] = &["contract/schemas/v1"];

/// A generated file.
pub(crate) struct Page {
    /// Relative to the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Page {
    /// A document under `docs/reference`, with the line that says where it comes from.
    pub(crate) fn reference(name: &str, source: &str, body: &str) -> Self {
        let header =
            format!("<!-- Written by `cargo xtask codegen` from {source}; edit that. -->\n\n");
        Self {
            path: format!("docs/reference/{name}.md"),
            text: header + body,
        }
    }
}

/// Text for a cell of a Markdown table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

pub(crate) fn write(root: &Path, pages: &[Page]) -> Result<()> {
    for page in pages {
        let path = root.join(&page.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        fs::write(&path, &page.text).with_context(|| format!("writing {}", path.display()))?;
    }
    for path in left_over(root, pages)? {
        fs::remove_file(root.join(&path)).with_context(|| format!("removing {path}"))?;
    }
    Ok(())
}

/// The files that are not what they would be, or should not be there.
pub(crate) fn stale(root: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut stale = left_over(root, pages)?;
    for page in pages {
        if fs::read_to_string(root.join(&page.path)).ok().as_deref() != Some(&page.text) {
            stale.push(page.path.clone());
        }
    }
    stale.sort();
    Ok(stale)
}

fn left_over(root: &Path, pages: &[Page]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders: Vec<String> = OWNED.iter().map(|folder| (*folder).to_owned()).collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if pages.iter().all(|page| page.path != path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_fresh_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let page = |name: &str, text: &str| Page {
            path: format!("contract/schemas/v1/{name}.json"),
            text: text.to_owned(),
        };
        let pages = [page("a", "1"), page("wire/b", "2")];
        let both = [
            "contract/schemas/v1/a.json",
            "contract/schemas/v1/wire/b.json",
        ];
        assert_eq!(stale(root, &pages).unwrap(), both);
        write(root, &pages).unwrap();
        assert!(stale(root, &pages).unwrap().is_empty());
        let changed = [page("a", "3")];
        assert_eq!(stale(root, &changed).unwrap(), both);
        write(root, &changed).unwrap();
        assert!(!root.join(both[1]).exists());
    }

    #[test]
    fn cells_stay_in_their_column() {
        assert_eq!(cell("a | b\nc"), "a \\| b c");
    }
}
