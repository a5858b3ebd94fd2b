//! Which plugins are found, in which order, under which names, and what is said of those that
//! cannot be loaded.

use super::{ENRICHER_LINE, check_all, enriched};
use crate::world::{ENRICHER, World, plugin};

#[test]
fn sources_are_named_as_paths_are_in_python() {
    let report = |source: &str| {
        format!(
            "{{\n  \"plugin_count\": 1,\n  \"plugin_names\": [\n    \"context-enricher\"\n  ],\n  \"diagnostics\": [\n    {{\n      \
             \"source\": \"{source}\",\n      \"plugin_name\": \"context-enricher\",\n      \"status\": \"loaded\",\n      \
             \"message\": \"ok\"\n    }}\n  ]\n}}\n"
        )
    };
    check_all(
        &[("in/side/e.py", ENRICHER), ("e.py", ENRICHER)],
        &[
            (
                &["--plugin-dir", "in/side", "doctor"],
                &report("in/side/e.py"),
            ),
            (
                &["--plugin-dir", "./in//side/", "doctor"],
                &report("in/side/e.py"),
            ),
            (
                &["--plugin-dir", "in/../in/side/.", "doctor"],
                &report("in/../in/side/e.py"),
            ),
            (&["--plugin-dir", ".", "doctor"], &report("e.py")),
            (&["--plugin-dir", "", "doctor"], &report("e.py")),
        ],
    );
}

#[test]
fn files_are_loaded_in_order_and_some_are_passed_over() {
    let plugins: Vec<(String, String)> = ["b", "A", "a", "10", "9", "é"]
        .iter()
        .map(|stem| {
            (
                format!("plugins/{stem}.py"),
                plugin(&format!("p-{stem}"), "return hook"),
            )
        })
        .collect();
    let mut files: Vec<(&str, &str)> = plugins
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    files.extend([
        ("plugins/_private.py", "raise ValueError('never loaded')"),
        ("plugins/__init__.py", "raise ValueError('never loaded')"),
        ("plugins/deeper/c.py", "raise ValueError('never loaded')"),
        ("plugins/notes.txt", "no plugin"),
        ("plugins/c.PY", "raise ValueError('never loaded')"),
    ]);
    check_all(
        &files,
        &[
            (
                &["list"],
                "p-10 v1.0.0 | - | Does p-10.\np-9 v1.0.0 | - | Does p-9.\np-A v1.0.0 | - | Does p-A.\n\
             p-a v1.0.0 | - | Does p-a.\np-b v1.0.0 | - | Does p-b.\np-é v1.0.0 | - | Does p-é.\n",
            ),
            (
                &["emit", "x"],
                "[\n  \"x\",\n  \"x\",\n  \"x\",\n  \"x\",\n  \"x\",\n  \"x\"\n]\n",
            ),
            (&["capabilities"], ""),
        ],
    );
}

/// A plugin whose manifest and class body are given.
fn odd(manifest: &str, rest: &str) -> String {
    format!(
        "from kodex_plugin_system.base import PluginManifest\nclass P:\n    manifest = {manifest}\n{rest}\n\
         def get_plugin(): return P()\n"
    )
}

const METHODS: &str =
    "    def activate(self, context): pass\n    def handle_hook(self, hook, payload): return None";

#[test]
fn what_cannot_be_loaded_is_reported_in_the_first_runtimes_words() {
    let manifest = "PluginManifest(name='x', version='1', description='d')";
    let files: Vec<(&str, String, &str, &str)> = vec![
        (
            "plugins/a.py",
            "x = 1".into(),
            "skipped",
            "missing get_plugin()",
        ),
        (
            "plugins/b.py",
            "raise ValueError('no é\\nsecond')".into(),
            "error",
            "no \\u00e9\\nsecond",
        ),
        (
            "plugins/c.py",
            "def get_plugin(): raise KeyError('k')".into(),
            "error",
            "'k'",
        ),
        (
            "plugins/d.py",
            odd("None", METHODS),
            "error",
            "Plugin must expose a PluginManifest as 'manifest'",
        ),
        (
            "plugins/e.py",
            odd(
                "PluginManifest(name=' ', version='1', description='d')",
                METHODS,
            ),
            "error",
            "Plugin manifest name must be non-empty",
        ),
        (
            "plugins/f.py",
            odd(
                "PluginManifest(name=' f ', version=' ', description='d')",
                METHODS,
            ),
            "error",
            "Plugin 'f' must define a version",
        ),
        (
            "plugins/g.py",
            odd(
                "PluginManifest(name='g', version='1', description='')",
                METHODS,
            ),
            "error",
            "Plugin 'g' must define a description",
        ),
        (
            "plugins/h.py",
            odd(manifest, "    def handle_hook(self, h, p): pass"),
            "error",
            "Plugin 'x' is missing activate()",
        ),
        (
            "plugins/i.py",
            odd(manifest, "    def activate(self, c): pass"),
            "error",
            "Plugin 'x' is missing handle_hook()",
        ),
        (
            "plugins/j.py",
            odd(
                manifest,
                "    def activate(self, c): raise RuntimeError('not today')\n    def handle_hook(self, h, p): pass",
            ),
            "error",
            "not today",
        ),
        ("plugins/k.py", odd(manifest, METHODS), "loaded", "ok"),
        (
            "plugins/l.py",
            odd(manifest, METHODS),
            "error",
            "Duplicate plugin name 'x' is not allowed",
        ),
        (
            "plugins/m.py",
            "import no_such_module_anywhere".into(),
            "error",
            "No module named 'no_such_module_anywhere'",
        ),
        (
            "plugins/n.py",
            "get_plugin = 5".into(),
            "error",
            "'int' object is not callable",
        ),
    ];
    let lines: Vec<String> = files
        .iter()
        .map(|(source, _, status, message)| {
            let name = if *status == "loaded" { "x" } else { "-" };
            format!(
                "    {{\n      \"source\": \"{source}\",\n      \"plugin_name\": \"{name}\",\n      \
                 \"status\": \"{status}\",\n      \"message\": \"{message}\"\n    }}"
            )
        })
        .collect();
    let report = format!(
        "{{\n  \"plugin_count\": 1,\n  \"plugin_names\": [\n    \"x\"\n  ],\n  \"diagnostics\": [\n{}\n  ]\n}}\n",
        lines.join(",\n")
    );
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text, ..)| (*path, text.as_str()))
        .collect();
    check_all(
        &files,
        &[
            (&["doctor"], &report),
            (&["list"], "x v1 | - | d\n"),
            (&["doctor"], &report),
        ],
    );
}

#[test]
fn manifests_are_normalised() {
    let text = odd(
        "PluginManifest(name='  My Plugin ', version=' v1 ', description=' Does é. ', capabilities=(' b ', 'a', '', 'b', 'é', 'B'))",
        METHODS,
    );
    check_all(
        &[("plugins/a.py", &text)],
        &[
            (&["list"], "My Plugin vv1 | B,a,b,é | Does é.\n"),
            (
                &["--json", "list"],
                "[\n  {\n    \"name\": \"My Plugin\",\n    \"version\": \"v1\",\n    \"description\": \"Does \\u00e9.\",\n    \
             \"capabilities\": [\n      \"B\",\n      \"a\",\n      \"b\",\n      \"\\u00e9\"\n    ]\n  }\n]\n",
            ),
            (&["capabilities"], "B\na\nb\né\n"),
        ],
    );
}

#[test]
fn plugins_of_installed_packages_come_after_files() {
    let class = ENRICHER.replace("def get_plugin():\n    return Enricher()\n", "");
    let world = World::with(&[
        ("plugins/z.py", &plugin("z", "return None")),
        ("venv/pyvenv.cfg", ""),
    ]);
    let python = World::python(&world);
    world.write(
        "venv/pyvenv.cfg",
        format!("home = {}\nversion = {}\n", python.home, python.version),
    );
    std::fs::create_dir_all(world.work().join("venv/bin")).expect("bin");
    std::os::unix::fs::symlink(&python.program, world.work().join("venv/bin/python3"))
        .expect("a link");
    let site = format!("venv/lib/python{}/site-packages", python.version);
    world.write(&format!("{site}/some_package.py"), class);
    world.write(
        &format!("{site}/some_package-1.0.dist-info/METADATA"),
        "Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n",
    );
    world.write(
        &format!("{site}/some_package-1.0.dist-info/entry_points.txt"),
        "[kodex.plugins]\nenricher = some_package:Enricher\nbroken = some_package:Nothing\n",
    );
    let done = world.run("--python ./venv doctor");
    let sources: Vec<&str> = done
        .stdout
        .lines()
        .filter(|line| line.contains("\"source\""))
        .map(str::trim)
        .collect();
    assert_eq!(
        sources,
        [
            "\"source\": \"plugins/z.py\",",
            "\"source\": \"entrypoint:enricher\",",
            "\"source\": \"entrypoint:broken\","
        ],
        "{}",
        done.stderr
    );
    assert_eq!(
        world.run("--python ./venv list").stdout,
        format!("z v1.0.0 | - | Does z.\n{ENRICHER_LINE}")
    );
    let done = world.args([
        "--python",
        "./venv",
        "emit",
        "prompt.preprocess",
        "--payload",
        r#"{"text":"hello"}"#,
    ]);
    assert_eq!(done.stdout, enriched("[default-org] hello"));
}
