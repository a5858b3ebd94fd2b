//! What the Python tests share: the Python of this machine, and how to start it.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

use kodex_backend::python::{Interpreter, Search, Variables};

/// The machine as the command line would hand it in, without the user's own packages.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs the Python of the machine it runs on"
)]
pub(crate) fn search() -> Search {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Search {
        configured: None,
        path: std::env::split_paths(&path).collect(),
        cwd: std::env::current_dir().expect("a current folder"),
        variables: Variables::read(|name| std::env::var_os(name)),
        home: None,
    }
}

/// The Python of this machine.
pub(crate) fn python() -> Interpreter {
    Interpreter::find(&search())
        .expect("these tests need a Python 3.9 or newer")
        .interpreter
}

/// Runs a program to its end and gives its standard output.
#[expect(clippy::disallowed_methods, reason = "a test asks the real program")]
pub(crate) fn run<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> String {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}: {}",
        program.display(),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Makes a virtual environment.
pub(crate) fn environment(python: &Interpreter, root: &Path) -> Interpreter {
    let root = root.as_os_str();
    run(
        &python.program,
        [
            OsStr::new("-I"),
            "-m".as_ref(),
            "venv".as_ref(),
            "--without-pip".as_ref(),
            root,
        ],
    );
    let search = Search {
        configured: Some(root.into()),
        ..Search::default()
    };
    Interpreter::find(&search)
        .expect("the new environment")
        .interpreter
}
