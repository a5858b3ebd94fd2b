//! What the first Python runtime printed, and this program prints byte for byte: plugin files and
//! arguments on the left, standard output and exit status on the right.

use crate::world::{ENRICHER, World, plugin};

struct Case<'a> {
    files: &'a [(&'a str, &'a str)],
    argv: &'a [&'a str],
    stdout: &'a str,
    status: i32,
}

fn check(case: &Case<'_>) {
    let world = World::with(case.files);
    let done = world.args(case.argv);
    assert_eq!(
        (done.stdout.as_str(), done.code()),
        (case.stdout, case.status),
        "{:?}\n{}",
        case.argv,
        done.stderr
    );
}

/// Many invocations on the same files.
fn check_all(files: &[(&str, &str)], invocations: &[(&[&str], &str)]) {
    let world = World::with(files);
    for (argv, stdout) in invocations {
        let done = world.args(*argv);
        assert_eq!(
            (done.stdout.as_str(), done.code()),
            (*stdout, 0),
            "{argv:?}\n{}",
            done.stderr
        );
    }
}

const NOTHING_LOADED: &str = r#"{
  "plugin_count": 0,
  "plugin_names": [],
  "diagnostics": [
    {
      "source": "plugins",
      "plugin_name": "-",
      "status": "skipped",
      "message": "plugin directory missing"
    }
  ]
}
"#;

#[test]
fn without_plugins() {
    check_all(
        &[],
        &[
            (&["list"], ""),
            (&["--json", "list"], "[]\n"),
            (&["capabilities"], ""),
            (&["--json", "capabilities"], "[]\n"),
            (&["emit", "any"], "[]\n"),
            (&["doctor"], NOTHING_LOADED),
            (&["--json", "doctor"], NOTHING_LOADED),
        ],
    );
    check_all(
        &[("plugins/readme.txt", "no plugin")],
        &[
            (&["list"], ""),
            (
                &["doctor"],
                "{\n  \"plugin_count\": 0,\n  \"plugin_names\": [],\n  \"diagnostics\": []\n}\n",
            ),
        ],
    );
}

const ENRICHER_JSON: &str = r#"[
  {
    "name": "context-enricher",
    "version": "0.1.0",
    "description": "Adds extra prompt context before execution.",
    "capabilities": [
      "context.enrich",
      "prompt.preprocess"
    ]
  }
]
"#;

const ENRICHER_LINE: &str = "context-enricher v0.1.0 | context.enrich,prompt.preprocess | Adds extra prompt context before execution.\n";

fn enriched(text: &str) -> String {
    format!("[\n  {{\n    \"plugin\": \"context-enricher\",\n    \"text\": \"{text}\"\n  }}\n]\n")
}

#[test]
fn the_plugin_of_the_documentation() {
    let hello = enriched("[default-org] hello");
    check_all(
        &[("plugins/context_enricher.py", ENRICHER)],
        &[
            (&["list"], ENRICHER_LINE),
            (&["--json", "list"], ENRICHER_JSON),
            (&["capabilities"], "context.enrich\nprompt.preprocess\n"),
            (
                &["--json", "capabilities"],
                "[\n  \"context.enrich\",\n  \"prompt.preprocess\"\n]\n",
            ),
            (
                &[
                    "emit",
                    "prompt.preprocess",
                    "--payload",
                    r#"{"text": "hello"}"#,
                ],
                &hello,
            ),
            (
                &[
                    "emit",
                    "--payload",
                    r#"{"text": "hello"}"#,
                    "prompt.preprocess",
                    "--fail-fast",
                ],
                &hello,
            ),
            (
                &["--json", "emit", "prompt.preprocess"],
                &enriched("[default-org]"),
            ),
            (&["emit", "another.hook"], "[]\n"),
            (
                &[
                    "emit",
                    "prompt.preprocess",
                    "--payload",
                    r#"{"text": "h\u00e9 \ud83d\ude00 日 \" \\ \n"}"#,
                ],
                &enriched(r#"[default-org] h\u00e9 \ud83d\ude00 \u65e5 \" \\"#),
            ),
        ],
    );
}

#[test]
fn flags_may_be_shortened_repeated_and_written_with_an_equals_sign() {
    let hello = enriched("[default-org] hello");
    let payload = r#"{"text":"hello"}"#;
    let joined = format!("--payload={payload}");
    check_all(
        &[
            ("mine/context_enricher.py", ENRICHER),
            ("plugins/_ignored.py", "raise SystemExit(3)"),
        ],
        &[
            (&["--plugin-dir", "mine", "list"], ENRICHER_LINE),
            (&["--plugin-dir=mine", "list"], ENRICHER_LINE),
            (&["--plug", "mine", "--js", "list"], ENRICHER_JSON),
            (&["--p", "mine", "--j", "--json", "list"], ENRICHER_JSON),
            (
                &["--p=mine", "emit", "prompt.preprocess", "--p", payload],
                &hello,
            ),
            (
                &[
                    "--plugin",
                    "mine",
                    "emit",
                    "prompt.preprocess",
                    &joined,
                    "--fail",
                ],
                &hello,
            ),
            (
                &[
                    "--plugin-dir",
                    "mine",
                    "emit",
                    "--pay",
                    payload,
                    "--",
                    "prompt.preprocess",
                ],
                &hello,
            ),
            (&["list"], ""),
        ],
    );
}

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
fn replies_are_printed_as_python_prints_them() {
    for (reply, printed) in [
        ("{}", "{}"),
        ("[]", "[]"),
        ("False", "false"),
        ("0", "0"),
        ("''", "\"\""),
        ("[None]", "[\n    null\n  ]"),
        ("1.0", "1.0"),
        ("1e16", "1e+16"),
        ("1e-7", "1e-07"),
        ("-0.0", "-0.0"),
        ("10**30", "1000000000000000000000000000000"),
        ("0.1 + 0.2", "0.30000000000000004"),
        (
            "'\\x7f\\x00/<é\\u2028😀'",
            r#""\u007f\u0000/<\u00e9\u2028\ud83d\ude00""#,
        ),
        (
            "{'b': {}, 'a': [[], {}]}",
            "{\n    \"b\": {},\n    \"a\": [\n      [],\n      {}\n    ]\n  }",
        ),
        (
            "{1: 2, None: 3, True: 4.50}",
            "{\n    \"1\": 4.5,\n    \"null\": 3\n  }",
        ),
        ("(1, 2)", "[\n    1,\n    2\n  ]"),
        ("hook", "\"x\""),
        (
            "payload",
            "{\n    \"b\": 1.50,\n    \"a\": [\n      1\n    ]\n  }",
        ),
    ] {
        // Python reads 1.50 and writes 1.5.
        let printed = printed.replace("1.50", "1.5");
        check(&Case {
            files: &[("plugins/a.py", &plugin("a", &format!("return {reply}")))],
            argv: &["emit", "x", "--payload", r#"{"b": 1.50, "a": [1]}"#],
            stdout: &format!("[\n  {printed}\n]\n"),
            status: 0,
        });
    }
}

#[test]
fn a_payload_may_be_any_json() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return [repr(payload)]"))]);
    for (payload, seen) in [
        ("{}", "{}"),
        ("[1, 2.5]", "[1, 2.5]"),
        ("-5", "-5"),
        (" null ", "None"),
        ("\"text\"", "'text'"),
        ("true", "True"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("1E2", "100.0"),
        ("{\"a\": 1, \"a\": 2}", "{'a': 2}"),
    ] {
        let done = world.args(["emit", "x", "--payload", payload]);
        assert_eq!(
            done.stdout,
            format!("[\n  [\n    \"{seen}\"\n  ]\n]\n"),
            "{payload}: {}",
            done.stderr
        );
    }
}

#[test]
fn failures_stand_in_place_of_replies() {
    let fails = plugin("fails", "raise ValueError(f'no {hook} é')");
    let silent = plugin("silent", "return None");
    let says = plugin("says", "return {'seen': payload}");
    let files: &[(&str, &str)] = &[
        ("plugins/a.py", &says),
        ("plugins/b.py", &fails),
        ("plugins/c.py", &silent),
        ("plugins/d.py", &plugin("more", "return 1")),
    ];
    check_all(
        files,
        &[(
            &["emit", "any.hook"],
            "[\n  {\n    \"seen\": {}\n  },\n  {\n    \"plugin\": \"fails\",\n    \"error\": \"no any.hook \\u00e9\",\n    \
         \"hook\": \"any.hook\"\n  },\n  1\n]\n",
        )],
    );
    check(&Case {
        files,
        argv: &["emit", "any.hook", "--fail-fast"],
        stdout: "",
        status: 1,
    });
    check(&Case {
        files,
        argv: &["emit", "any.hook", "--payload", "{"],
        stdout: "",
        status: 1,
    });
    let done = World::with(files).run("emit any.hook --fail-fast");
    assert!(
        done.stderr
            .contains("Plugin 'fails' failed on hook 'any.hook': no any.hook é"),
        "{}",
        done.stderr
    );
}

/// Known hooks have modes of their own; this verb keeps every reply all the same.
#[test]
fn known_hooks_are_not_folded() {
    let deny = plugin("deny", "return {'decision': 'deny', 'reason': 'no'}");
    let odd = plugin("odd", "return 'this is no decision'");
    let reply = "{\n    \"decision\": \"deny\",\n    \"reason\": \"no\"\n  }";
    for hook in [
        "tool.before",
        "prompt.submit",
        "session.start",
        "tool.after",
        "agent.stop",
    ] {
        check(&Case {
            files: &[("plugins/a.py", &odd), ("plugins/b.py", &deny)],
            argv: &["emit", hook],
            stdout: &format!("[\n  \"this is no decision\",\n  {reply}\n]\n"),
            status: 0,
        });
    }
}

#[test]
fn what_cannot_be_parsed_is_usage() {
    for argv in [
        &[][..],
        &["unknown"],
        &["emit"],
        &["emit", "a", "b"],
        &["list", "extra"],
        &["--nothing", "list"],
        &["--plugin-dir"],
        &["scaffold"],
        &["emit", "a", "--payload"],
        &["lis"],
    ] {
        check(&Case {
            files: &[],
            argv,
            stdout: "",
            status: 2,
        });
    }
}

#[test]
fn a_folder_that_is_none_has_no_plugins_and_no_line() {
    let world = World::with(&[("plugins", "a file")]);
    let report = "{\n  \"plugin_count\": 0,\n  \"plugin_names\": [],\n  \"diagnostics\": []\n}\n";
    for (argv, stdout) in [
        ("list", ""),
        ("--json list", "[]\n"),
        ("emit x", "[]\n"),
        ("doctor", report),
    ] {
        let done = world.run(argv);
        assert_eq!((done.stdout.as_str(), done.code()), (stdout, 0), "{argv}");
        assert!(
            done.stderr.contains("discover.directory.is_a_file"),
            "{argv}: {}",
            done.stderr
        );
    }
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
