//! Nothing depends on one person's machine or on where packages are fetched from.

use super::text::numbered;
use super::{Finding, Repository};

/// Folders that exist on some machines only.
const FOLDERS: &[&str] = &["/root/", "/work/", "/Users/", "/mnt/"];

/// Hosts that registries' clients know by themselves.
const HOSTS: &[&str] = &[
    "index.crates.io",
    "static.crates.io",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "deb.debian.org",
    "proxy.golang.org",
];

pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &repository.files {
        // A lockfile is written by its tool, and this file must name what it looks for.
        if file.path.ends_with("package-lock.json") || file.path == "xtask/src/tidy/places.rs" {
            continue;
        }
        for (number, line) in numbered(file.text()) {
            let folder = FOLDERS.iter().find(|folder| begins_a_path(line, folder));
            if let Some(named) = folder.or_else(|| HOSTS.iter().find(|host| line.contains(**host)))
            {
                findings.push(Finding::new(file, number, format!("names `{named}`")));
            }
        }
    }
    findings
}

/// Whether a path in this line begins with the folder, rather than having it in its middle.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let is_inside = |c: char| c.is_alphanumeric() || "._-}~*/".contains(c);
        !line[..at].ends_with(is_inside)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_of_a_machine_and_hosts_are_found() {
        let text =
            "see /root/x\n${project}/work/x\n\"/work/x\"\nhttps://index.crates.io/a\n~/work/b\n";
        super::super::check(
            super::check,
            &[("a.md", text), ("b/package-lock.json", text)],
            &[
                "a.md:1: names `/root/`",
                "a.md:3: names `/work/`",
                "a.md:4: names `index.crates.io`",
            ],
        );
    }
}
