//! What people see: tables, colours and reports on a terminal, and nothing there that a plugin could
//! turn into a command. Also readers that go away.

use std::{
    fs::File,
    io::Read,
    process::{Child, Stdio},
    sync::mpsc,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::world::{DEADLINE, ENRICHER, World, plugin};

/// Runs the program on a terminal of its own and gives everything that it showed.
fn on_terminal(world: &World, argv: &[&str]) -> (String, i32) {
    let (mut master, child) = start(world, argv);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut part = [0; 4096];
        // The end of the last process on it closes the terminal, which reads as an error.
        while let Ok(n @ 1..) = master.read(&mut part) {
            seen.extend_from_slice(&part[..n]);
        }
        drop(tell.send(seen));
    });
    let seen = told.recv_timeout(DEADLINE).expect("the program ends");
    let status = ended(child);
    (String::from_utf8_lossy(&seen).replace("\r\n", "\n"), status)
}

fn start(world: &World, argv: &[&str]) -> (File, Child) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("granted");
    unlockpt(&master).expect("unlocked");
    let name = ptsname(&master, Vec::new())
        .expect("a name")
        .into_string()
        .expect("text");
    let slave = || {
        Stdio::from(
            File::options()
                .read(true)
                .write(true)
                .open(&name)
                .expect("the other end"),
        )
    };
    let mut command = world.command(argv);
    let child = command
        .env("TERM", "xterm-256color")
        .stdin(slave())
        .stdout(slave())
        .stderr(slave())
        .spawn()
        .expect("kodex");
    (File::from(master), child)
}

fn ended(mut child: Child) -> i32 {
    child.wait().expect("an end").code().unwrap_or(-1)
}

#[test]
fn a_list_is_a_table_with_colours() {
    let world = World::with(&[
        ("plugins/e.py", ENRICHER),
        ("plugins/z.py", &plugin("z", "return 1")),
    ]);
    let (seen, status) = on_terminal(&world, &["list"]);
    assert_eq!(status, 0, "{seen}");
    assert!(seen.contains("\x1b[1mNAME"), "{seen:?}");
    assert!(
        seen.contains("\x1b[36mcontext-enricher\x1b[0m")
            || seen.contains("context-enricher\x1b[0m"),
        "{seen:?}"
    );
    let (plain, _) = on_terminal(&world, &["--color", "never", "list"]);
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let lines: Vec<&str> = plain.lines().collect();
    assert!(
        lines[0].starts_with("NAME") && lines[0].ends_with("DESCRIPTION"),
        "{plain}"
    );
    assert!(lines[1].starts_with("context-enricher  0.1.0"), "{plain}");
    let (json, _) = on_terminal(&world, &["--json", "list"]);
    assert!(json.starts_with("[\n  {\n    \"name\""), "{json}");
}

#[test]
fn an_empty_list_says_what_to_do() {
    let (seen, status) = on_terminal(&World::new(), &["list"]);
    assert_eq!(
        (seen.as_str(), status),
        ("no plugins; `kodex scaffold NAME` makes one\n", 0)
    );
}

#[test]
fn the_doctor_speaks_to_people_on_a_terminal() {
    let world = World::with(&[
        ("plugins/e.py", ENRICHER),
        ("plugins/b.py", "raise ValueError('broken on purpose')"),
    ]);
    let (seen, status) = on_terminal(&world, &["--color", "never", "doctor"]);
    assert_eq!(status, 0);
    for word in [
        "error[load.python.raised]: broken on purpose",
        " --> plugins/b.py",
        "1 plugin loaded, 1 error",
    ] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    let (json, _) = on_terminal(&world, &["doctor", "--json"]);
    assert!(json.starts_with("{\n  \"plugin_count\": 1"), "{json}");
}

/// A plugin's texts try to set the title, clear the screen, hide and turn text around.
#[test]
fn texts_of_plugins_cannot_command_the_terminal() {
    let evil = "\\x1b]0;owned\\x07\\x1b[2J\\u202e\\x9b31m\\u200b";
    let text = format!(
        "from kodex_plugin_system.base import PluginManifest\nclass P:\n    manifest = PluginManifest(name='evil', version='1', \
         description='d{evil}', capabilities=('c\\u202e',))\n    def activate(self, c): pass\n    \
         def handle_hook(self, h, p): raise ValueError('e{evil}')\ndef get_plugin(): return P()\n"
    );
    let world = World::with(&[
        ("plugins/a.py", &text),
        ("plugins/b.py", &format!("raise ValueError('f{evil}')")),
    ]);
    for argv in [
        &["list"][..],
        &["capabilities"],
        &["doctor"],
        &["doctor", "--full"],
        &["check"],
        &["permissions"],
        &["explain", "x"],
        &["explain", "x", "--payload", "{}"],
        &["emit", "x"],
        &["emit", "x", "--fail-fast"],
        &["--strict", "list"],
    ] {
        let argv: Vec<&str> = ["--color", "never"].iter().chain(argv).copied().collect();
        let (seen, _) = on_terminal(&world, &argv);
        assert!(!seen.trim().is_empty(), "{argv:?}");
        let bad = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}');
        assert!(!seen.contains(bad), "{argv:?}: {seen:?}");
    }
    let (list, _) = on_terminal(&world, &["list"]);
    assert!(
        list.contains("\\u{1b}]0;owned"),
        "spelled out, not dropped: {list:?}"
    );
}

#[test]
fn a_long_load_shows_a_sign_of_life() {
    let slow = format!(
        "import time\ntime.sleep(1.6)\n{}",
        plugin("slow", "return 1")
    );
    let world = World::with(&[("plugins/a.py", &slow)]).unset("CI");
    let (seen, status) = on_terminal(&world, &["list"]);
    assert_eq!(status, 0);
    assert!(seen.contains("loading plugins"), "{seen:?}");
    let (seen, _) = on_terminal(&world, &["list"]);
    assert!(
        !seen.contains("loading plugins"),
        "the second time is fast: {seen:?}"
    );
    assert_eq!(
        world.run("--no-cache list").stderr,
        "",
        "only on a terminal"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return ['x' * 1000] * 900"))]);
    let mut child = world.command(["emit", "x"]).spawn().expect("kodex");
    drop(child.stdout.take());
    let done = crate::world::finished(child);
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""));
}

#[test]
fn a_full_disk_is_an_error() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        return;
    };
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))]);
    let done = crate::world::finished(
        world
            .command(["emit", "x"])
            .stdout(full)
            .spawn()
            .expect("kodex"),
    );
    assert_eq!(done.code(), 1);
    assert!(
        done.stderr.starts_with("error[cli.output]: "),
        "{}",
        done.stderr
    );
}
