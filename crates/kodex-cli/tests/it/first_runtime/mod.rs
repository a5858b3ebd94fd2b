//! What the first Python runtime printed, and this program prints byte for byte: plugin files and
//! arguments on the left, standard output and exit status on the right.

mod load;
mod replies;

use crate::world::{ENRICHER, World};

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
