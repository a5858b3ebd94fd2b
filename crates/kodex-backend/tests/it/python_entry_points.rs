//! Entry points against the truth: every Python on this machine lists its own.

use std::collections::BTreeSet;

use kodex_backend::python::{Interpreter, Search, entry_points};

use crate::{python_interpreter::installed, python_world::run};

/// What `importlib.metadata` finds of a group, apart from what is installed in the old egg form.
const TRUTH: &str = r#"
import sys
from importlib.metadata import entry_points
for point in entry_points(group=sys.argv[1]):
    if str(point.dist._path).endswith(".dist-info") and point.attr:
        dist = point.dist
        print(point.name, point.module, point.attr, dist.metadata["Name"], dist.version, dist._path, sep="|")
"#;

/// Before this, Python listed shadowed distributions too.
const WITHOUT_SHADOWED: (u8, u8) = (3, 10);

fn check(python: &Interpreter, group: &str) -> usize {
    let said = run(&python.program, ["-I", "-c", TRUTH, group]);
    let truth: BTreeSet<String> = said.lines().map(str::to_owned).collect();
    let scanned = entry_points(&python.site_dirs, group);
    let found = scanned.entry_points.iter().map(|point| {
        let folder = point.file.parent().expect("a folder").display();
        let (name, distribution, version) = (&point.name, &point.distribution, &point.version);
        let (module, attr) = (&point.module, &point.attr);
        format!("{name}|{module}|{attr}|{distribution}|{version}|{folder}")
    });
    assert_eq!(
        found.collect::<BTreeSet<_>>(),
        truth,
        "{}",
        python.program.display()
    );
    let codes = scanned.diagnostics.iter().map(|found| found.code.as_str());
    let unexpected: Vec<_> = codes
        .filter(|code| *code != "discover.entry_points.egg_info")
        .collect();
    assert_eq!(unexpected, [""; 0]);
    truth.len()
}

#[test]
fn every_installed_python_lists_the_same_entry_points() {
    let mut programs = installed();
    // A machine may have nothing but a bare Python; a virtual environment always has pip's.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let python = programs.first().expect("a Python").clone();
    let path = folder.path().to_str().expect("a path in UTF-8");
    run(&python, ["-m", "venv", path]);
    programs.insert(folder.path().join("bin/python3"));
    let mut n_found = 0;
    for program in programs {
        let configured = Some(program);
        let found = Interpreter::find(&Search {
            configured,
            ..Search::default()
        });
        let python = found.expect("it was found before").interpreter;
        if python.version >= WITHOUT_SHADOWED {
            // Groups that real packages have; nothing installs plugins of ours yet.
            for group in ["console_scripts", "pytest11", "distutils.commands"] {
                n_found += check(&python, group);
            }
        }
    }
    assert!(
        n_found > 0,
        "no Python here has an entry point to compare with"
    );
}
