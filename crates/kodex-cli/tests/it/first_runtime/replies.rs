//! What `emit` prints: replies in Python's spelling, failures in their place.

use super::{Case, check, check_all};
use crate::world::{World, plugin};

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
