//! The inspector against real plugin files: what they declare, how they fail, and who is blamed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use kodex_backend::{
    python::{Inspection, Inspector, Sdk, Source, Subject},
    sweep,
};
use kodex_plugin::Json;
use serde_json::json;

use crate::python_world::python;

/// A plugin of the first runtime, with room for misbehaviour.
pub(crate) fn plugin(name: &str, on_import: &str, on_activate: &str) -> String {
    format!(
        r#"
import os, sys, time, signal
from kodex_plugin_system.base import PluginManifest
{on_import}

class Plugin:
    manifest = PluginManifest("{name}", "1.0.0", "A plugin.", ("b", "a"))

    def activate(self, context):
        self.context = context
        {on_activate}

    def handle_hook(self, hook, payload):
        return None


def get_plugin():
    return Plugin()
"#
    )
}

/// A folder of plugins and an inspector for it.
pub(crate) struct Workshop {
    pub(crate) root: tempfile::TempDir,
    pub(crate) inspector: Inspector,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let sdk_dir = Sdk::embedded()
            .install(&root.path().join("cache"))
            .expect("the SDK");
        let plugins = root.path().join("plugins");
        fs::create_dir(&plugins).expect("a folder");
        let inspector = Inspector::new(python().program, sdk_dir, plugins);
        Self { root, inspector }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.root.path().join("plugins").join(name);
        fs::write(&file, text).expect("a file");
        file
    }

    fn subjects(&self, texts: &[String]) -> Vec<Subject> {
        let files = texts.iter().enumerate();
        files
            .map(|(n, text)| subject(self.file(&format!("p{n}.py"), text)))
            .collect()
    }

    fn inspect(&self, subjects: &[Subject]) -> Vec<Inspection> {
        block_on(self.inspector.inspect(subjects))
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

pub(crate) fn subject(file: PathBuf) -> Subject {
    Subject {
        source: Source::File(file),
        context: Json::object(),
        by_name: Json::object(),
    }
}

/// `name` or `code: message`.
pub(crate) fn shown(inspection: &Inspection) -> String {
    match inspection {
        Ok(manifest) => {
            let name = &manifest.value()["plugin"]["name"];
            name.as_str().expect("a name").to_owned()
        }
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

/// Inspects the files in one process each time it can, and compares with `wants`: equal, or, where
/// it ends in `...`, a beginning.
fn check(workshop: &Workshop, texts: &[String], wants: &[&str]) {
    let got: Vec<_> = workshop
        .inspect(&workshop.subjects(texts))
        .iter()
        .map(shown)
        .collect();
    assert_eq!(got.len(), wants.len());
    for (got, want) in got.iter().zip(wants) {
        match want.strip_suffix("...") {
            Some(start) => assert!(got.starts_with(start), "{got} does not start with {start}"),
            None => assert_eq!(got, want),
        }
    }
}

#[test]
fn a_plugin_is_described_by_what_it_declares() {
    let workshop = Workshop::new();
    let subjects = workshop.subjects(&[plugin("one", "", "")]);
    let manifests = workshop.inspect(&subjects);
    let manifest = manifests[0].as_ref().expect("a manifest").value();
    assert_eq!(manifest["manifest"], 1);
    assert_eq!(
        manifest["plugin"],
        json!({"name": "one", "version": "1.0.0", "description": "A plugin.", "capabilities": ["a", "b"]})
    );
    assert_eq!(manifest["run"], json!({"kind": "python", "entry": "p0.py"}));
    let parsed = kodex_plugin::manifest::parse_json(
        manifests[0].as_ref().expect("a manifest").text(),
        "p0.py",
        true,
    );
    assert!(parsed.manifest.is_some(), "{:?}", parsed.diagnostics);
}

#[test]
fn every_way_to_fail_has_its_code_and_blames_the_right_one() {
    let workshop = Workshop::new();
    let ok = |name| plugin(name, "", "");
    check(
        &workshop,
        &[
            ok("a"),
            "x = 1\n".into(),
            "raise ValueError('no luck')\n".into(),
            "def get_plugin(): return object()\n".into(),
            ok("b"),
            plugin(" ", "", ""),
            plugin("c", "", "raise KeyError('gone')"),
            plugin("d", "", "sys.exit(3)"),
            "this is no Python\n".into(),
            ok("e"),
        ],
        &[
            "a",
            "load.python.no_get_plugin: missing get_plugin()",
            "load.python.raised: no luck",
            "load.python.not_a_manifest: Plugin must expose a PluginManifest as 'manifest'",
            "b",
            "load.python.invalid: Plugin manifest name must be non-empty",
            "load.python.activate_failed: 'gone'",
            "load.python.activate_failed: SystemExit: 3",
            "load.python.raised: invalid syntax...",
            "e",
        ],
    );
}

#[test]
fn what_takes_the_process_down_is_blamed_alone() {
    let mut workshop = Workshop::new();
    workshop.inspector.deadline = Duration::from_secs(1);
    let ok = |name| plugin(name, "", "");
    let texts = [
        ok("a"),
        plugin(
            "b",
            "sys.stderr.write('first\\nlast words\\n'); sys.stderr.flush(); os._exit(3)",
            "",
        ),
        ok("c"),
        plugin("d", "os.kill(os.getpid(), signal.SIGKILL)", ""),
        plugin("e", "", "os.abort()"),
        ok("f"),
        plugin("g", "print('waiting')\nwhile True: time.sleep(60)", ""),
        plugin(
            "h",
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            "while True: pass",
        ),
        ok("i"),
        plugin("j", "while True: sys.stderr.write('x' * 65536)", ""),
        ok("k"),
    ];
    check(
        &workshop,
        &texts,
        &[
            "a",
            "load.python.exited: the process that imported it exited with status 3; the last line on standard error: last words",
            "c",
            "load.python.exited: the process that imported it was ended by signal 9 (SIGKILL)",
            "load.python.exited: the process that imported it was ended by signal 6 (SIGABRT)...",
            "f",
            "load.python.timeout: it was not imported, built and activated within 1s and was ended; the last line on standard error: waiting",
            "load.python.timeout: ...",
            "i",
            "load.python.timeout: ...",
            "k",
        ],
    );
}

#[test]
fn what_writes_into_the_hosts_pipe_is_found_out() {
    let mut workshop = Workshop::new();
    workshop.inspector.deadline = Duration::from_secs(2);
    // The SDK hides the pipe; a plugin that looks for it finds it, as the highest pipe but one.
    let write = |text: &str| {
        let code = format!(
            "import stat\npipes = [n for n in range(3, 32) if _is_pipe(n)]\nfor n in pipes:\n  try: os.write(n, {text})\n  except OSError: pass\n"
        );
        let head = "import stat\ndef _is_pipe(n):\n  try: return stat.S_ISFIFO(os.fstat(n).st_mode)\n  except OSError: return False\n";
        plugin("x", &format!("{head}{code}"), "")
    };
    check(
        &workshop,
        &[
            write("b'hello\\n'"),
            write("b'x' * (2 << 20)"),
            write("b'{\"jsonrpc\":\"2.0\",\"method\":\"log\"}\\n' * 5000"),
            plugin(
                "b",
                "print('to standard output'); os.write(1, b'raw\\n')",
                "",
            ),
            write("b'{\"jsonrpc\":\"2.0\",\"method\":\"log\"}\\n' * 5"),
        ],
        &[
            "load.python.protocol: it wrote a line that is no answer into the pipe to the host (...",
            "load.python.flood: ...",
            "load.python.flood: ...",
            "b",
            "x",
        ],
    );
}

#[test]
fn nothing_is_inspected_twice_and_nothing_is_left_running() {
    let mut workshop = Workshop::new();
    workshop.inspector.deadline = Duration::from_secs(1);
    let log = workshop.root.path().join("log");
    let note = format!("open({log:?}, 'a').write(__name__[-2:] + ' ')");
    let child = "import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)";
    let texts = [
        plugin("a", &note, ""),
        plugin("b", &note, child),
        plugin("c", &note, "os._exit(1)"),
        plugin("d", &note, "time.sleep(60)"),
        plugin("e", &note, child),
        plugin("f", &note, "os._exit(1)"),
    ];
    check(
        &workshop,
        &texts,
        &[
            "a",
            "b",
            "load.python.exited: ...",
            "load.python.timeout: ...",
            "e",
            "load.python.exited: ...",
        ],
    );
    assert_eq!(
        fs::read_to_string(log).expect("the log"),
        "p0 p1 p2 p3 p4 p5 "
    );
}

#[test]
fn the_context_reaches_the_plugin_it_is_meant_for() {
    let workshop = Workshop::new();
    let file = workshop.file(
        "p.py",
        &plugin("a", "", "raise ValueError(context.get('org', 'none'))"),
    );
    let subjects: Vec<_> = ["acme", "other"]
        .map(|org| Subject {
            source: Source::File(file.clone()),
            context: Json::from(json!({"org": org})),
            by_name: Json::object(),
        })
        .into();
    let got: Vec<_> = workshop.inspect(&subjects).iter().map(shown).collect();
    assert_eq!(
        got,
        [
            "load.python.activate_failed: acme",
            "load.python.activate_failed: other"
        ]
    );
}

#[test]
fn objects_of_packages_are_imported_from_their_directory() {
    let workshop = Workshop::new();
    let site = workshop.root.path().join("site");
    fs::create_dir_all(site.join("pkg")).expect("folders");
    fs::write(site.join("pkg/__init__.py"), "").expect("a file");
    fs::write(site.join("pkg/mod.py"), plugin("inside", "", "")).expect("a file");
    let object = |object: &str, path: &Path| Subject {
        source: Source::Object {
            object: object.into(),
            path: vec![path.to_owned()],
        },
        context: Json::object(),
        by_name: Json::object(),
    };
    let subjects = [
        object("pkg.mod:Plugin", &site),
        object("pkg.mod:get_plugin", &site),
        object("pkg.mod:Nothing", &site),
        object("missing_package:Plugin", &site),
    ];
    let got: Vec<_> = workshop.inspect(&subjects).iter().map(shown).collect();
    assert_eq!(got[..2], ["inside", "inside"]);
    assert_eq!(
        got[2],
        "load.python.raised: module 'pkg.mod' has no attribute 'Nothing'"
    );
    assert_eq!(
        got[3],
        "load.python.raised: No module named 'missing_package'"
    );
}

#[test]
fn what_cannot_be_asked_for_keeps_its_place() {
    use std::os::unix::ffi::OsStringExt;
    let workshop = Workshop::new();
    let file = workshop.file("p.py", &plugin("a", "", ""));
    let no_text = PathBuf::from(std::ffi::OsString::from_vec(b"/x/\xff.py".to_vec()));
    let large = Json::from(json!({"text": "x".repeat(2 << 20)}));
    let subjects = [
        subject(no_text.clone()),
        subject(file.clone()),
        Subject {
            context: large,
            ..subject(file.clone())
        },
        subject(file),
        subject(no_text),
    ];
    let got: Vec<_> = workshop.inspect(&subjects).iter().map(shown).collect();
    let codes: Vec<_> = got
        .iter()
        .map(|text| text.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(
        codes,
        [
            "load.python.request",
            "a",
            "load.python.request",
            "a",
            "load.python.request"
        ]
    );
    assert!(workshop.inspect(&[]).is_empty());
}

#[test]
fn a_python_that_does_not_work_is_blamed_on_no_plugin() {
    for (program, want) in [
        (
            "/nowhere/python3",
            "load.python.inspector: cannot start /nowhere/python3: No such file",
        ),
        (
            "/bin/false",
            "load.python.inspector: /bin/false cannot run the SDK: it exited with status 1",
        ),
    ] {
        let mut workshop = Workshop::new();
        workshop.inspector.program = program.into();
        let subjects = workshop.subjects(&[plugin("a", "", ""), plugin("b", "", "")]);
        for inspection in workshop.inspect(&subjects) {
            assert!(
                shown(&inspection).starts_with(want),
                "{}",
                shown(&inspection)
            );
        }
    }
}

#[test]
fn a_thousand_files_are_answered_in_order_by_few_processes() {
    let workshop = Workshop::new();
    let log = workshop.root.path().join("log");
    let note = format!("open({log:?}, 'a').write('%d ' % os.getpid())");
    let texts: Vec<_> = (0..1_000)
        .map(|n| plugin(&format!("p{n}"), &note, ""))
        .collect();
    let got: Vec<_> = workshop
        .inspect(&workshop.subjects(&texts))
        .iter()
        .map(shown)
        .collect();
    let want: Vec<_> = (0..1_000).map(|n| format!("p{n}")).collect();
    assert_eq!(got, want);
    let pids = fs::read_to_string(log).expect("the log");
    let pids: std::collections::BTreeSet<&str> =
        pids.split(' ').filter(|pid| !pid.is_empty()).collect();
    assert_eq!(pids.len(), workshop.inspector.n_processes);
}

#[test]
fn an_inspection_that_is_no_longer_wanted_ends_its_process() {
    let workshop = Workshop::new();
    let pid_file = workshop.root.path().join("pid");
    let tell =
        format!("open({pid_file:?}, 'w').write(os.environ['KODEX_WORKER'])\ntime.sleep(600)");
    let subjects = workshop.subjects(&[plugin("a", &tell, "")]);
    let mark = block_on(async {
        let inspecting = workshop.inspector.inspect(&subjects);
        let told = async {
            loop {
                match fs::read_to_string(&pid_file) {
                    Ok(mark) if !mark.is_empty() => return mark,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::select! {
            done = inspecting => panic!("it cannot be done: {done:?}"),
            mark = tokio::time::timeout(Duration::from_secs(20), told) => mark.expect("it starts"),
        }
    });
    assert_eq!(sweep::marked(&mark), [0; 0]);
}
