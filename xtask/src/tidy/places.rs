//! Nothing depends on one person's machine or on where packages are fetched from.

use super::text::numbered;
use super::{Finding, Repository};

/// Folders that exist on some machines only.
const FOLDERS: &[&str] = &["/root/", "/work/", "/Users/", "/mnt/"];

/// Hosts that registries' clients know by themselves.
const HOSTS: &[&str] = &[
    concat!("index.", "crates", ".io"),
    concat!("static.", "crates", ".io"),
    concat!("files.", "pythonhosted", ".org"),
    concat!("registry.", "npmjs", ".org"),
    concat!("deb.", "debian", ".org"),
    concat!("proxy.", "golang", ".org"),
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
        let host = super::HOSTS[0];
        let text =
            format!("see /root/x\n${{project}}/work/x\n\"/work/x\"\nhttps://{host}/a\n~/work/b\n");
        let third = format!("a.md:4: names `{host}`");
        super::super::check(
            super::check,
            &[("a.md", &text), ("b/package-lock.json", &text)],
            &["a.md:1: names `/root/`", "a.md:3: names `/work/`", &third],
        );
    }
}
