//! `Interpreter::find` against the truth: every Python on this machine is asked where it is and
//! what it searches, and must say what was read from the files.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use kodex_backend::python::{Found, Interpreter, InterpreterError, Search, Variables};

use crate::python_world::{environment, run, search};

/// What Python says of itself. Python leaves directories out that do not exist, and a directory of
/// the user's that an isolated interpreter leaves out is added here by Python's own rule.
const TRUTH: &str = r#"
import os, site, sys, sysconfig
own = {os.path.abspath(p) for p in (
    sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("DESTSHARED") or "/-")}
lib = os.path.dirname(os.path.abspath(os.__file__))
for p in (lib, os.path.join(lib, "lib-dynload")):
    own.add(p)
paths = [p for p in sys.path if p not in own and not p.endswith(".zip") and os.path.isdir(p)]
print("%d.%d" % sys.version_info[:2], sys.prefix, *paths, sep="\n")
"#;

fn find(search: &Search) -> Found {
    Interpreter::find(search).expect("there is a Python")
}

/// Finds with the program configured and compares with what the program says.
fn check(program: &Path) {
    let found = find(&Search {
        configured: Some(program.to_owned()),
        ..Search::default()
    });
    let interpreter = found.interpreter;
    let said = run(&interpreter.program, ["-I", "-c", TRUTH]);
    let asked = run(program, ["-I", "-c", TRUTH]);
    assert_eq!(
        said,
        asked,
        "{} stands for {}",
        interpreter.program.display(),
        program.display()
    );
    let mut lines = said.lines();
    let (major, minor) = interpreter.version;
    assert_eq!(
        lines.next(),
        Some(format!("{major}.{minor}").as_str()),
        "{program:?}"
    );
    assert_eq!(
        lines.next().map(Path::new),
        Some(interpreter.prefix.as_path()),
        "{program:?}"
    );
    let truth: Vec<PathBuf> = lines.map(PathBuf::from).collect();
    // Lines of code in `.pth` files may add directories that are not seen without running them;
    // none on the machines that this was tried on does.
    assert_eq!(interpreter.site_dirs, truth, "{program:?}");
}

#[test]
fn every_installed_python_is_described_as_it_describes_itself() {
    let mut n_checked = 0;
    for program in installed() {
        check(&program);
        n_checked += 1;
    }
    assert!(n_checked > 0, "this machine has no Python to compare with");
}

/// The Pythons of this machine that are new enough: the system's, and those of version managers.
pub(crate) fn installed() -> BTreeSet<PathBuf> {
    let search = search();
    let mut programs = BTreeSet::new();
    let mut dirs = search.path.clone();
    if let Some(root) = &search.variables.pyenv_root {
        let versions = fs::read_dir(root.join("versions"))
            .into_iter()
            .flatten()
            .flatten();
        dirs.extend(versions.map(|version| version.path().join("bin")));
    }
    for program in dirs.iter().map(|dir| dir.join("python3")) {
        let configured = Some(program);
        if let Ok(found) = Interpreter::find(&Search {
            configured,
            ..Search::default()
        }) {
            programs.insert(found.interpreter.program);
        }
    }
    programs
}

#[test]
fn environments_are_described_as_they_describe_themselves() {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (n, python) in installed().into_iter().enumerate() {
        for (flag, with_system) in [
            ("--symlinks", false),
            ("--copies", false),
            ("--symlinks", true),
        ] {
            let venv = root.path().join(format!("v{n}{flag}{with_system}"));
            let mut args = vec!["-I", "-m", "venv", "--without-pip", flag];
            if with_system {
                args.push("--system-site-packages");
            }
            let target = venv.to_str().expect("UTF-8");
            args.push(target);
            run(&python, args);
            check(&venv.join("bin/python3"));
            check(&venv.join("bin/python"));
            let site = fs::read_dir(venv.join("lib"))
                .expect("lib")
                .flatten()
                .next()
                .expect("one")
                .path();
            fs::create_dir_all(venv.join("extra/pkg")).expect("folders");
            fs::write(
                site.join("site-packages/extra.pth"),
                "# more\n../../../extra\n/nowhere\nimport sys\n",
            )
            .expect("a file");
            check(&venv.join("bin/python3"));
            // A folder with `bin` in it may be named instead of the program, and it may be active.
            let by_folder = find(&Search {
                configured: Some(venv.clone()),
                ..Search::default()
            });
            let variables = Variables {
                virtual_env: Some(venv.clone()),
                ..Variables::default()
            };
            let by_variable = find(&Search {
                variables,
                ..Search::default()
            });
            assert_eq!(by_folder.interpreter, by_variable.interpreter);
            assert_eq!(by_folder.interpreter.prefix, venv);
        }
    }
}

#[test]
fn a_link_into_an_environment_leaves_it_as_in_python() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let python = find(&search()).interpreter;
    let venv = environment(&python, &root.path().join("venv"));
    let link = root.path().join("python3");
    symlink(venv.program, &link).expect("a link");
    check(&link);
}

#[test]
fn the_users_own_packages_are_searched_before_the_installations() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut search = search();
    search.home = Some(home.path().to_owned());
    search.configured = Some(find(&search).interpreter.program);
    let (major, minor) = find(&search).interpreter.version;
    let own = home
        .path()
        .join(format!(".local/lib/python{major}.{minor}/site-packages"));
    assert!(
        !find(&search).interpreter.site_dirs.contains(&own),
        "it does not exist yet"
    );
    fs::create_dir_all(&own).expect("folders");
    let interpreter = find(&search).interpreter;
    assert_eq!(interpreter.site_dirs[0], own);
    // An environment that sees only itself does not see them.
    let venv = environment(&interpreter, &home.path().join("venv"));
    search.configured = Some(venv.program);
    assert!(!find(&search).interpreter.site_dirs.contains(&own));
}

#[test]
fn the_search_path_of_this_machine_leads_to_what_it_would_start() {
    let search = search();
    let found = find(&search);
    let program = ["python3", "python"].iter().find_map(|name| {
        search
            .path
            .iter()
            .map(|dir| dir.join(name))
            .find(|program| program.exists())
    });
    let said = run(&program.expect("there is a Python"), ["-I", "-c", TRUTH]);
    assert_eq!(
        said,
        run(&found.interpreter.program, ["-I", "-c", TRUTH]),
        "{found:?}"
    );
    let started = fs::read(&found.interpreter.program).expect("the program");
    assert!(
        !started.starts_with(b"#!"),
        "{} is a script",
        found.interpreter.program.display()
    );
}

/// A folder of programs named in a few words, and a search over it.
struct Machine {
    root: tempfile::TempDir,
    real: Interpreter,
}

impl Machine {
    fn new(programs: &[(&str, &str)]) -> Self {
        let machine = Self {
            root: tempfile::tempdir().expect("a temporary folder"),
            real: find(&search()).interpreter,
        };
        for (name, kind) in programs {
            machine.add(name, kind);
        }
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn add(&self, name: &str, kind: &str) {
        let file = self.at(name);
        fs::create_dir_all(file.parent().expect("a parent")).expect("folders");
        match kind {
            "real" => symlink(&self.real.program, &file).expect("a link"),
            "script" => self.executable(&file, "#!/bin/sh\nexec true\n"),
            "pyenv" => self.executable(
                &file,
                "#!/usr/bin/env bash\nexec /x/libexec/pyenv exec \"$@\"\n",
            ),
            "old" => {
                let old = self.at("old/bin/python3.8");
                fs::create_dir_all(self.at("old/bin")).expect("folders");
                self.executable(&old, "ELF");
                symlink(old, &file).expect("a link");
            }
            "mise" => {
                self.executable(&self.at("mise-program"), "ELF");
                fs::rename(self.at("mise-program"), self.at("mise")).expect("renamed");
                symlink(self.at("mise"), &file).expect("a link");
            }
            "plain" => fs::write(&file, "ELF").expect("a file"),
            text => fs::write(&file, text).expect("a file"),
        }
    }

    fn executable(&self, file: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(file, text).expect("a file");
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// Finds, and says what was found: `real`, or the code; then the codes of the notes.
    fn find(&self, path: &[&str], set: impl FnOnce(&mut Search)) -> (String, String) {
        let mut search = Search {
            path: path.iter().map(|dir| self.at(dir)).collect(),
            cwd: self.at("project/sub"),
            ..Search::default()
        };
        fs::create_dir_all(&search.cwd).expect("folders");
        set(&mut search);
        match Interpreter::find(&search) {
            Ok(found) => {
                let real = found.interpreter.program == self.real.program;
                let notes: Vec<_> = found.notes.iter().map(|note| note.code.as_str()).collect();
                (
                    if real {
                        "real".into()
                    } else {
                        found.interpreter.program.display().to_string()
                    },
                    notes.join(" "),
                )
            }
            Err(error) => (error.code().to_owned(), error.to_string()),
        }
    }
}

fn check_search(
    programs: &[(&str, &str)],
    set: impl FnOnce(&Machine, &mut Search),
    want: (&str, &str),
) {
    let machine = Machine::new(programs);
    let (found, notes) = machine.find(&["a", "b", "shims", "c"], |search| set(&machine, search));
    assert_eq!((found.as_str(), notes.as_str()), want, "{programs:?}");
}

#[test]
fn the_first_usable_program_on_the_path_is_taken() {
    for (programs, want) in [
        (&[("b/python3", "real")][..], ("real", "")),
        (&[("b/python", "real")], ("real", "")),
        (
            &[("a/python", "script"), ("c/python3", "real")],
            ("real", ""),
        ),
        (
            &[("a/python3", "script"), ("b/python3", "real")],
            ("real", "python.skipped"),
        ),
        (
            &[("a/python3", "mise"), ("b/python3", "real")],
            ("real", "python.skipped"),
        ),
        (
            &[("a/python3", "plain"), ("b/python3", "real")],
            ("real", ""),
        ),
        (&[("a/python3", "old"), ("b/python3", "real")], ("real", "")),
        (
            &[("a/python3/x", "plain"), ("b/python3", "real")],
            ("real", ""),
        ),
        (
            &[
                ("b/python3", "real"),
                ("project/sub/.venv/pyvenv.cfg", "home = /usr/bin"),
            ],
            ("real", "python.environment.unused"),
        ),
        // pyenv: a version, the system's program further along, one that is not there.
        (
            &[
                ("shims/python3", "pyenv"),
                ("versions/3.12.1/bin/python3", "real"),
                ("version", "3.12.1"),
            ],
            ("real", ""),
        ),
        (
            &[
                ("shims/python3", "pyenv"),
                ("versions/x", "plain"),
                ("c/python3", "real"),
            ],
            ("real", ""),
        ),
        (
            &[
                ("shims/python3", "pyenv"),
                ("versions/3.12.1/bin/python3", "real"),
                ("project/.python-version", "3.12"),
            ],
            ("real", ""),
        ),
        (
            &[
                ("shims/python3", "pyenv"),
                ("versions/x", "plain"),
                ("version", "3.9.9"),
                ("c/python3", "real"),
            ],
            ("real", "python.pyenv"),
        ),
        (
            &[
                ("shims/python3", "pyenv"),
                ("versions/x", "plain"),
                ("project/.python-version", "../../evil"),
                ("evil/bin/python3", "real"),
                ("c/python3", "mise"),
            ],
            ("python.not_found", ""),
        ),
    ] {
        let machine = Machine::new(programs);
        let (found, notes) = machine.find(&["a", "b", "shims", "c"], |_| {});
        let notes = if found == "real" { notes.as_str() } else { "" };
        assert_eq!((found.as_str(), notes), want, "{programs:?}");
    }
}

#[test]
fn the_configured_value_is_taken_or_refused_but_never_replaced() {
    let programs = &[
        ("a/python3", "real"),
        ("b/python3.99", "real"),
        ("c/x", "old"),
        ("d/py", "real"),
    ];
    let configure = |value: &'static str| {
        move |_: &Machine, search: &mut Search| search.configured = Some(value.into())
    };
    check_search(programs, configure("python3.99"), ("real", ""));
    check_search(programs, configure("../../d/py"), ("real", ""));
    check_search(
        programs,
        |machine, search| search.configured = Some(machine.at("d/py")),
        ("real", ""),
    );
    for (value, code) in [
        ("python3.98", "python.not_found"),
        ("./python3", "python.not_found"),
        ("../../c/x", "python.too_old"),
    ] {
        let machine = Machine::new(programs);
        let (found, text) =
            machine.find(&["a", "b"], |search| search.configured = Some(value.into()));
        assert_eq!(found, code, "{value}");
        let name = value.trim_start_matches("../").trim_start_matches("./");
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn an_error_names_every_place_and_the_way_out() {
    let machine = Machine::new(&[("a/python3", "script"), ("b/python", "plain")]);
    let search = Search {
        path: vec![
            machine.at("a"),
            machine.at("b"),
            PathBuf::from("relative"),
            PathBuf::new(),
        ],
        cwd: machine.at("project"),
        variables: Variables::read(|name| {
            (name == "VIRTUAL_ENV").then(|| OsStr::new("gone").to_owned())
        }),
        ..Search::default()
    };
    let error = Interpreter::find(&search).expect_err("nothing usable");
    assert!(matches!(&error, InterpreterError::NotFound { .. }));
    let text = error.to_string();
    for place in [
        "a/python3 (it is a script",
        "b/python3 (no such file)",
        "a/python (no such file)",
        "b/python (not executable)",
        "project/gone (no such file)",
    ] {
        assert!(text.contains(place), "{place:?} is not in {text}");
    }
    assert!(!text.contains("relative"), "{text}");
    let hint = error.hint();
    assert!(
        hint.contains("[python]")
            && hint.contains("--python")
            && hint.contains(".kodex/config.toml")
    );
    assert_eq!(error.diagnostic().code, "python.not_found");
    let empty = Interpreter::find(&Search::default()).expect_err("nowhere to look");
    assert!(
        empty.to_string().contains("the search path is empty"),
        "{empty}"
    );
}

#[test]
fn an_identity_changes_with_the_program() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let real = find(&search()).interpreter;
    let copy = root.path().join("bin/python3");
    fs::create_dir_all(root.path().join("bin")).expect("a folder");
    fs::copy(&real.program, &copy).expect("a copy");
    let interpreter = Interpreter {
        program: copy.clone(),
        ..real
    };
    let first = interpreter.identity().expect("an identity");
    assert_eq!(first, interpreter.identity().expect("an identity"));
    let mut longer = fs::read(&copy).expect("the copy");
    longer.push(0);
    fs::write(&copy, longer).expect("written");
    let second = interpreter.identity().expect("an identity");
    assert_ne!(first, second);
    assert_ne!(first.to_string(), second.to_string());
    fs::remove_file(&copy).expect("removed");
    interpreter.identity().expect_err("it is gone");
}
