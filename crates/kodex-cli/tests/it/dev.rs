//! `kodex dev`: what changes is loaded again and shown.

use rustix::process::{Signal, kill_process};

use crate::world::{Lines, World, finished, pid, plugin};

#[test]
fn a_change_is_loaded_again_and_the_hook_is_called_again() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 'before'"))]);
    let mut child = world
        .command(["dev", "--emit", "x"])
        .spawn()
        .expect("kodex");
    let lines = Lines::new(child.stdout.take().expect("stdout"));
    assert_eq!(lines.until("loaded"), "loaded a\n");
    lines.until("before");
    world.write("plugins/a.py", plugin("a", "return 'after the change'"));
    assert_eq!(lines.until("changed"), "changed a\n");
    lines.until("after the change");
    world.write("plugins/b.py", plugin("b", "return 2"));
    assert_eq!(lines.until("added"), "added b\n");
    world.write("plugins/b.py", "raise ValueError('broken on purpose')");
    assert_eq!(lines.until("removed"), "removed b\n");
    lines.until("broken on purpose");
    std::fs::remove_file(world.work().join("plugins/b.py")).expect("removed");
    lines.until("all is well again");
    kill_process(pid(&child), Signal::INT).expect("a signal");
    assert_eq!(finished(child).code(), 130);
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for() {
    let world = World::new();
    let mut child = world.command(["dev", "--json"]).spawn().expect("kodex");
    let lines = Lines::new(child.stdout.take().expect("stdout"));
    assert_eq!(
        lines.until("loaded"),
        "{\"event\":\"loaded\",\"plugins\":[]}\n"
    );
    world.write("plugins/a.py", plugin("a", "return 1"));
    assert_eq!(
        lines.until("changed"),
        "{\"event\":\"changed\",\"added\":[\"a\"],\"changed\":[],\"removed\":[]}\n"
    );
    world.write("plugins/a.py", plugin("a", "return 2"));
    lines.until("\"changed\":[\"a\"]");
    kill_process(pid(&child), Signal::INT).expect("a signal");
    assert_eq!(finished(child).code(), 130);
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))]);
    let mut child = world.command(["dev"]).spawn().expect("kodex");
    drop(child.stdout.take());
    assert_eq!(finished(child).code(), 0);
}
