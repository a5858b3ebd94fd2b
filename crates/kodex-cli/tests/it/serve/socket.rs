//! The socket: whose it is, what goes over it, and what hostile clients can do.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
};

use rustix::process::Signal;

use crate::{
    serve::{Node, socket, world},
    world::DEADLINE,
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
