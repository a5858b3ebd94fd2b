//! What people type and have lying around by mistake: each is told apart, with a code, a status and
//! what to do.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, os::unix::fs::PermissionsExt, process::Stdio};

use crate::world::{ENRICHER, World, finished, plugin};

/// Runs and compares status and code; standard output stays empty.
fn check(world: &World, argv: &[&str], status: i32, code: &str, words: &[&str]) {
    let done = world.args(argv);
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (status, ""),
        "{argv:?}\n{}",
        done.stderr
    );
    assert!(
        done.stderr.starts_with(&format!("error[{code}]: ")),
        "{argv:?}\n{}",
        done.stderr
    );
    for word in words {
        assert!(
            done.stderr.contains(word),
            "{argv:?}: no {word:?} in\n{}",
            done.stderr
        );
    }
}

#[test]
fn a_payload_that_cannot_be_used() {
    let world = World::with(&[("bad.json", "{\n  \"a\": nope\n}"), ("latin1.json", "")]);
    world.write("latin1.json", b"\"\xe9\"");
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let large = format!("\"{}\"", "x".repeat(50_000));
    let just_too_large = world.write("large.json", format!("\"{}\"", "x".repeat(1 << 20)));
    let at = |file: &str| format!("@{file}");
    check(
        &world,
        &["emit", "h", "--payload", "{"],
        1,
        "json.syntax",
        &["--payload:1:1", "help:"],
    );
    check(
        &world,
        &["emit", "h", "--payload", ""],
        1,
        "json.syntax",
        &[],
    );
    check(
        &world,
        &["emit", "h", "--payload", "{'a': 1}"],
        1,
        "json.syntax",
        &["{'a': 1}", "^", "double quotation marks"],
    );
    check(
        &world,
        &["emit", "h", "--payload", "NaN"],
        1,
        "json.syntax",
        &[],
    );
    check(
        &world,
        &["emit", "h", "--payload", r#""\ud800""#],
        1,
        "json.syntax",
        &["surrogate"],
    );
    check(
        &world,
        &["emit", "h", "--payload", "1e999"],
        1,
        "json.syntax",
        &[],
    );
    check(
        &world,
        &["emit", "h", "--payload", "{} {}"],
        1,
        "json.syntax",
        &["1:4"],
    );
    check(
        &world,
        &["emit", "h", "--payload", &deep],
        1,
        "json.too_deep",
        &["64 levels"],
    );
    check(
        &world,
        &["emit", "h", "--payload", &at("large.json")],
        1,
        "json.too_long",
        &["1048576"],
    );
    check(
        &world,
        &["emit", "h", "--payload", "@bad.json"],
        1,
        "json.syntax",
        &["bad.json:2:9", "\"a\": nope"],
    );
    check(
        &world,
        &["emit", "h", "--payload", "@latin1.json"],
        1,
        "json.syntax",
        &["no UTF-8 (byte 1)"],
    );
    check(
        &world,
        &["emit", "h", "--payload", "@none.json"],
        1,
        "input.unreadable",
        &["none.json", "No such file"],
    );
    check(
        &world,
        &["emit", "h", "--payload", "@."],
        1,
        "input.unreadable",
        &["directory"],
    );
    check(
        &world,
        &["call", "t", "--input", "{"],
        1,
        "json.syntax",
        &["--input"],
    );
    check(
        &world,
        &["explain", "h", "--payload", "{"],
        1,
        "json.syntax",
        &["--payload"],
    );
    check(
        &world,
        &["dev", "--emit", "h", "--payload", "{"],
        1,
        "json.syntax",
        &["--payload"],
    );
    assert_eq!(world.args(["emit", "h", "--payload", &large]).code(), 0);
    drop(just_too_large);
}

#[test]
fn a_payload_from_standard_input() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return payload"))]);
    world.write("in.json", "{\"a\": 1}");
    let file = fs::File::open(world.work().join("in.json")).expect("the file");
    let child = world
        .command(["emit", "h", "--payload", "-"])
        .stdin(Stdio::from(file))
        .spawn()
        .expect("kodex");
    assert_eq!(finished(child).stdout, "[\n  {\n    \"a\": 1\n  }\n]\n");
    assert_eq!(
        world.run("emit h --payload @in.json").stdout,
        "[\n  {\n    \"a\": 1\n  }\n]\n"
    );
}

#[test]
fn names_that_nothing_has() {
    let world = World::with(&[("plugins/e.py", ENRICHER)]);
    check(
        &world,
        &["call", "wordCount_count"],
        1,
        "tool.unknown",
        &["wordCount_count", "kodex call"],
    );
    check(
        &world,
        &["permissions", "context-enrcher"],
        1,
        "permissions.plugin.unknown",
        &["did you mean 'context-enricher'?"],
    );
    check(
        &world,
        &["permissions", "nobody"],
        1,
        "permissions.plugin.unknown",
        &["kodex list"],
    );
    check(&world, &["emit", ""], 2, "name.hook.invalid", &[]);
    check(&world, &["emit", "a\nb"], 2, "name.hook.invalid", &[]);
    check(&world, &["explain", ""], 2, "name.hook.invalid", &[]);
    check(&world, &["check", "nowhere"], 2, "check.path", &["nowhere"]);
    let done = world.run("explain promt.submit");
    assert!(
        done.stdout.contains("Did you mean `prompt.submit`?"),
        "{}",
        done.stdout
    );
    // A hook that nobody knows is no mistake: it collects.
    assert_eq!(world.run("emit promt.submit").stdout, "[]\n");
}

#[test]
fn folders_that_cannot_be_read() {
    let world = World::with(&[("file", "x"), ("plugins/a.py", &plugin("a", "return 1"))]);
    let done = world.run("--plugin-dir file check");
    assert_eq!(done.code(), 1);
    assert!(
        done.stdout.contains("error[discover.directory.is_a_file]"),
        "{}",
        done.stdout
    );
    check(
        &world,
        &["--strict", "--plugin-dir", "file", "list"],
        1,
        "discover.directory.is_a_file",
        &["file"],
    );
    // Root may read everything, so permissions prove something for others only.
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(
            world.work().join("plugins"),
            fs::Permissions::from_mode(0o000),
        )
        .expect("permissions");
        let done = world.run("list");
        assert_eq!((done.code(), done.stdout.as_str()), (0, ""));
        assert!(
            done.stderr.contains("discover.directory.unreadable"),
            "{}",
            done.stderr
        );
        fs::set_permissions(
            world.work().join("plugins"),
            fs::Permissions::from_mode(0o700),
        )
        .expect("permissions");
    }
    let done = world.run("--plugin-dir nowhere --plugin-dir plugins list");
    assert_eq!(
        (done.code(), done.stdout.as_str(), done.stderr.as_str()),
        (0, "a v1.0.0 | - | Does a.\n", "")
    );
}

#[test]
fn names_that_are_no_utf8() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))]);
    fs::write(
        world
            .work()
            .join("plugins")
            .join(OsStr::from_bytes(b"b\xff.py")),
        ENRICHER,
    )
    .expect("a file");
    let done = world.run("list");
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (0, "a v1.0.0 | - | Does a.\n")
    );
    assert!(
        done.stderr.contains("error[discover.name.not_utf8]"),
        "{}",
        done.stderr
    );
    let done = world.args([
        OsStr::new("--plugin-dir"),
        OsStr::from_bytes(b"no\xffwhere"),
        OsStr::new("doctor"),
    ]);
    assert_eq!(done.code(), 0);
    assert!(
        done.stdout.contains("plugin directory missing"),
        "{}",
        done.stdout
    );
    let done = world.args([OsStr::new("emit"), OsStr::from_bytes(b"h\xff")]);
    assert_eq!(done.code(), 2);
    let done = world.args([
        OsStr::new("emit"),
        OsStr::new("h"),
        OsStr::new("--payload"),
        OsStr::from_bytes(b"\xff"),
    ]);
    assert_eq!(done.code(), 2);
}

#[test]
fn a_missing_interpreter() {
    let world = World::with(&[
        ("plugins/a.py", &plugin("a", "return 1")),
        ("plugins/b.py", &plugin("b", "return 1")),
    ]);
    for (argv, places) in [
        (
            "--python ./none/python3 list",
            &["./none/python3", "no such file"][..],
        ),
        (
            "--python no-such-python emit x",
            &["no-such-python", "search path"],
        ),
    ] {
        let done = world.run(argv);
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert_eq!(
            done.stderr.matches("error[python.not_found]").count(),
            1,
            "{}",
            done.stderr
        );
        assert!(
            done.stderr
                .contains("2 plugins could not be loaded; see `kodex doctor`"),
            "{}",
            done.stderr
        );
        for word in places.iter().chain(&["--python", ".kodex/config.toml"]) {
            assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
        }
    }
    let world = world.set("PATH", "/nowhere");
    let done = world.run("check");
    assert_eq!(done.code(), 1);
    assert_eq!(
        done.stdout.matches("error[python.not_found]").count(),
        1,
        "{}",
        done.stdout
    );
    assert!(
        done.stdout.contains("plugins/a.py") && done.stdout.contains("plugins/b.py"),
        "{}",
        done.stdout
    );
    check(
        &world,
        &["--strict", "list"],
        1,
        "python.not_found",
        &["/nowhere/python3"],
    );
}

#[test]
fn what_a_plugin_writes_is_never_half_of_the_output() {
    let noisy = plugin(
        "noisy",
        "import sys, os; os.write(1, b'\\xff banner'); print('x' * 100000); sys.stderr.write('\\x1b[31m'); return 'ok'",
    );
    let world = World::with(&[("plugins/a.py", &noisy)]);
    assert_eq!(world.run("emit x").stdout, "[\n  \"ok\"\n]\n");
}

#[test]
fn a_reply_that_is_no_json_or_too_much_is_a_failure_of_that_plugin() {
    let world = World::with(&[
        ("plugins/a.py", &plugin("a", "return {1, 2}")),
        ("plugins/b.py", &plugin("b", "return 'x' * 2_000_000")),
        ("plugins/c.py", &plugin("c", "return float('nan')")),
        ("plugins/d.py", &plugin("d", "return '\\ud800'")),
        ("plugins/e.py", &plugin("e", "return 'fine'")),
    ]);
    let done = world.run("emit x");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let replies: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let replies = replies.as_array().expect("a list");
    assert_eq!(replies.len(), 5, "{}", done.stdout);
    for (reply, name) in replies.iter().zip(["a", "b", "c", "d"]) {
        assert_eq!(
            (&reply["plugin"], &reply["hook"]),
            (&name.into(), &"x".into()),
            "{reply}"
        );
        assert!(
            reply["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{reply}"
        );
    }
    assert_eq!(replies[4], "fine");
}

#[test]
fn without_a_home_the_cache_has_to_be_named() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))])
        .unset("HOME")
        .unset("KODEX_CACHE_DIR");
    check(
        &world,
        &["list"],
        2,
        "cli.cache",
        &["KODEX_CACHE_DIR", "--no-cache"],
    );
    let done = world.run("--no-cache emit x");
    assert_eq!(
        (done.stdout.as_str(), done.code()),
        ("[\n  1\n]\n", 0),
        "{}",
        done.stderr
    );
}

#[test]
fn strict_fails_where_the_usual_mode_goes_on() {
    let world = World::with(&[
        ("plugins/a.py", "raise ValueError('broken on purpose')"),
        ("plugins/b.py", &plugin("b", "return 1")),
    ]);
    let done = world.run("list");
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (0, "b v1.0.0 | - | Does b.\n")
    );
    assert_eq!(
        done.stderr,
        "note: 1 plugin could not be loaded; see `kodex doctor`\n"
    );
    for verb in ["list", "emit x", "capabilities", "doctor"] {
        let argv: Vec<&str> = std::iter::once("--strict").chain(verb.split(' ')).collect();
        check(
            &world,
            &argv,
            1,
            "load.python.raised",
            &["Failed to load plugin from plugins/a.py: broken on purpose"],
        );
    }
}
