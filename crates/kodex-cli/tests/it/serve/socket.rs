//! The socket: whose it is, what goes over it, and what hostile clients can do.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    serve::{Node, say, socket, until, world},
    world::{DEADLINE, Fifo, World},
};

fn mode(path: &std::path::Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").mode() & 0o777
}

#[test]
fn it_is_closed_to_others_and_gone_afterwards() {
    let world = world(0, "cat");
    let node = Node::start(&world, "");
    let path = socket(&world);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    node.stop();
    assert!(!path.exists());
}

#[test]
fn a_living_one_is_never_displaced_and_a_dead_one_is_replaced() {
    let world = world(0, "cat");
    let node = Node::start(&world, "");
    for _ in 0..2 {
        let done = world.run("serve");
        assert_eq!(done.code(), 1, "{}", done.stderr);
        assert!(done.stderr.contains("serve.running"), "{}", done.stderr);
    }
    assert_eq!(world.run("status").code(), 0);
    node.signal(Signal::KILL);
    node.ended();
    assert!(
        socket(&world).exists(),
        "a killed process leaves its socket"
    );
    assert_eq!(world.run("status").code(), 1);
    assert_eq!(world.run("emit probe.x").code(), 0);
    let node = Node::start(&world, "");
    assert_eq!(world.run("status").code(), 0);
    node.stop();
    // Somebody else's listener, without our lock.
    let _other = UnixListener::bind(socket(&world)).expect("a listener");
    let done = world.run("serve");
    assert!(done.stderr.contains("serve.running"), "{}", done.stderr);
}

#[test]
fn what_lies_in_its_place_is_left_alone() {
    let world = world(0, "cat");
    world.write(".kodex/run/kodex.sock", "precious");
    let run = world.work().join(".kodex/run");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("open");
    let done = world.run("serve");
    assert_eq!(done.code(), 1);
    assert!(
        done.stderr.contains("serve.socket.folder"),
        "{}",
        done.stderr
    );
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).expect("closed");
    let done = world.run("serve");
    assert!(
        done.stderr.contains("serve.socket.taken"),
        "{}",
        done.stderr
    );
    assert_eq!(world.read(".kodex/run/kodex.sock"), "precious");
    assert_eq!(world.run("emit probe.x").code(), 0);
}

#[test]
fn a_path_may_be_longer_than_the_system_takes() {
    let world = world(0, "cat");
    let long = format!("{}/{}/k.sock", "a".repeat(90), "b".repeat(90));
    let node = Node::start(&world, &format!("--socket {long}"));
    let done = world.run(&format!("status --socket {long}"));
    assert_eq!(done.code(), 0, "{}", done.stderr);
    node.stop();
}

fn answer(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

#[test]
fn malformed_and_huge_messages_are_answered_and_harm_nobody() {
    let world = world(0, "cat");
    let node = Node::start(&world, "");
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let huge = "x".repeat(3 << 20);
    let request = |method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
    };
    for (text, number, code) in [
        ("{".to_owned(), -32700, "daemon.message"),
        ("\u{0}".to_owned(), -32700, "daemon.message"),
        (deep.clone(), -32700, "daemon.message"),
        ("[]".to_owned(), -32600, "daemon.message"),
        ("1".to_owned(), -32600, "daemon.message"),
        (
            "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"status\"}".to_owned(),
            -32600,
            "daemon.message",
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"method\":\"status\"}".to_owned(),
            -32600,
            "daemon.message",
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"status\"}".to_owned(),
            -32600,
            "daemon.message",
        ),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"x\":1}".to_owned(),
            -32600,
            "daemon.message",
        ),
        (huge, -32600, "daemon.message"),
        (request("stop", json!({})), -32601, "daemon.method"),
        (request("status", json!({"x": 1})), -32602, "daemon.params"),
        (request("status", json!([1])), -32602, "daemon.params"),
        (request("emit", json!({"hook": 1})), -32602, "daemon.params"),
        (
            request(
                "emit",
                json!({"hook": "a", "payload": {}, "like": {"config": "x"}}),
            ),
            -32000,
            "daemon.other",
        ),
        (
            request("runs/list", json!({"states": ["nowhere"]})),
            -32602,
            "daemon.params",
        ),
        (
            request("runs/show", json!({"id": "run_none"})),
            -32000,
            "work.unknown",
        ),
        (
            request("call", json!({"tool": "none", "input": {}})),
            -32000,
            "tool.unknown",
        ),
    ] {
        let said = say(&world, format!("{text}\n").as_bytes());
        let said = answer(&said);
        assert_eq!(said["error"]["code"], number, "{text:.80}: {said}");
        assert_eq!(said["error"]["data"]["code"], code, "{text:.80}: {said}");
    }
    let said = say(&world, b"\xff\xfe\n");
    assert_eq!(answer(&said)["error"]["code"], -32700);
    // An end within a message has no answer, many messages have one each, blank lines none.
    let cut = say(&world, b"{\"jsonrpc\":");
    assert_eq!(answer(&cut)["error"]["data"]["code"], "daemon.message");
    let status = request("status", json!({}));
    let many = say(&world, format!("\n{status}\n\n{status}\n").as_bytes());
    assert_eq!(many.lines().count(), 2, "{many}");
    assert!(
        many.lines()
            .all(|line| answer(line)["result"]["ready"] == true)
    );
    node.stop();
}

#[test]
fn every_method_answers() {
    let world = world(2, "cat");
    let node = Node::start(&world, "--beat 600s");
    let ask = |method: &str, params: Value| {
        let request = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
        let said = answer(&say(&world, format!("{request}\n").as_bytes()));
        assert_eq!(said["id"], "a", "{said}");
        assert!(said.get("error").is_none(), "{method}: {said}");
        said["result"].clone()
    };
    let pulse = ask("heartbeat", json!({}));
    assert_eq!(pulse["plugins"][0]["plugin"], "maker", "{pulse}");
    let runs = until("two completed runs", || {
        let runs = ask("runs/list", json!({"kind": "run", "states": ["completed"]}));
        (runs.as_array().is_some_and(|runs| runs.len() == 2)).then_some(runs)
    });
    let id = runs[0]["id"].as_str().expect("an id");
    assert_eq!(ask("runs/show", json!({"id": id}))["status"], "completed");
    assert!(
        !ask("runs/logs", json!({"id": id}))
            .as_array()
            .expect("lines")
            .is_empty()
    );
    ask("runs/retry", json!({"id": id}));
    until("it runs again", || {
        let run = ask("runs/show", json!({"id": id}));
        (run["status"] == "completed" && run["generation"] == 1).then_some(())
    });
    assert!(
        ask("reload", json!({}))["changed"]
            .as_array()
            .expect("names")
            .is_empty()
    );
    assert_eq!(ask("doctor", json!({}))["report"], 1);
    assert_eq!(ask("status", json!({}))["pulses"]["n_failed"], 0);
    let said = ask("emit", json!({"hook": "probe.x", "payload": {"a": 1}}));
    assert_eq!(said["answer"], json!([{"got": {"a": 1}}]));
    let said = ask("call", json!({"tool": "maker/twice", "input": {"n": 4}}));
    assert_eq!(said["answer"], json!({"n": 8}));
    node.stop();
}

/// Says something to the socket as the user who owns nothing.
#[expect(clippy::disallowed_methods, reason = "another user is another process")]
fn as_nobody(path: &std::path::Path) -> String {
    use std::os::unix::process::CommandExt as _;
    const TALK: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
except OSError as e:
    print(type(e).__name__)
    sys.exit()
s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"status"}\n')
print(s.makefile().readline())
"#;
    let done = std::process::Command::new("/usr/bin/python3")
        .args(["-I", "-c", TALK])
        .arg(path)
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .expect("a process of another user");
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

#[test]
fn other_users_are_refused_by_the_folder_and_by_the_kernels_word() {
    let world = world(0, "cat");
    let node = Node::start(&world, "");
    let path = socket(&world);
    if !rustix::process::geteuid().is_root() {
        // Only root can be another user; what can be seen is who may come near.
        assert_eq!(mode(&path), 0o600);
        return node.stop();
    }
    assert!(as_nobody(&path).contains("PermissionError"));
    // As if somebody had opened every door on the way.
    for folder in path
        .ancestors()
        .skip(1)
        .filter(|folder| folder.starts_with(std::env::temp_dir()))
    {
        if folder != std::env::temp_dir() {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("open");
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("open");
    let said = as_nobody(&path);
    assert!(said.contains("daemon.stranger"), "{said}");
    assert!(!said.contains("n_plugins"), "{said}");
    assert_eq!(world.run("status").code(), 0);
    node.stop();
}

#[test]
fn a_socket_of_another_user_is_told_nothing() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Root's program trusts root and itself, so the other user is who asks here.
    let world = world(0, "cat");
    let path = socket(&world);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let other = UnixListener::bind(&path).expect("a listener");
    let accepted = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().expect("a client");
        let _ = stream.set_read_timeout(Some(DEADLINE));
        let mut text = String::new();
        let _ = stream.write_all(b"nonsense\n");
        let _ = stream.read_to_string(&mut text);
    });
    // A listener that answers nonsense is an error, never an answer.
    let done = world.run("status");
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("daemon.broken"), "{}", done.stderr);
    accepted.join().expect("a thread");
}

/// A plugin whose tool says that it was reached, and answers when a file is there.
fn slow(world: &World, said: &Fifo) -> Value {
    let plugin = format!(
        "import kodex, os, time\nplugin = kodex.Plugin('slow', '0.1.0', 'Is slow.')\n\
         @plugin.tool('wait', description='Waits.', timeout='600s')\ndef wait(input):\n    \
         f = open({:?}, 'w'); f.write(str(os.getpid())); f.close()\n    \
         while not os.path.exists({:?}): time.sleep(0.02)\n    return 'done'\n",
        said.path().display().to_string(),
        world.work().join("go").display().to_string(),
    );
    world.write("plugins/slow.py", plugin);
    json!({"jsonrpc": "2.0", "id": 1, "method": "call", "params": {"tool": "slow/wait", "input": {}}})
}

#[test]
fn whoever_goes_takes_back_what_it_asked() {
    // At once, and after it has said that this was all.
    for is_half_closed in [false, true] {
        let world = world(0, "cat");
        let said = world.fifo("said");
        let ask = slow(&world, &said);
        let node = Node::start(&world, "--grace 600s");
        let mut stream = UnixStream::connect(socket(&world)).expect("a socket");
        stream
            .write_all(format!("{ask}\n").as_bytes())
            .expect("sent");
        if is_half_closed {
            stream.shutdown(Shutdown::Write).expect("shut");
        }
        said.read();
        drop(stream);
        node.says("whoever asked is gone");
        // A request that is under way would hold up the end for as long as the grace.
        node.stop();
    }
}

#[test]
fn who_has_said_everything_gets_its_answers() {
    let world = world(0, "cat");
    let said = world.fifo("said");
    let ask = slow(&world, &said);
    let node = Node::start(&world, "");
    let mut stream = UnixStream::connect(socket(&world)).expect("a socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("a bound");
    let status = json!({"jsonrpc": "2.0", "id": 2, "method": "status"});
    stream
        .write_all(format!("{ask}\n{status}\n").as_bytes())
        .expect("sent");
    stream.shutdown(Shutdown::Write).expect("shut");
    said.read();
    world.write("go", "");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("answers");
    let answers: Vec<Value> = answers.lines().map(answer).collect();
    assert_eq!(answers[0]["result"]["answer"], "done", "{answers:?}");
    assert_eq!(answers[1]["id"], 2, "{answers:?}");
    node.stop();
}
