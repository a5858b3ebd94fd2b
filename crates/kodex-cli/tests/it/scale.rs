//! Many plugins: a listing of what did not change starts no Python and reads no plugin.

use crate::world::{World, plugin};

#[test]
fn a_listing_of_unchanged_plugins_runs_none_of_them() {
    let world = World::new();
    let marker = world.work().join("ran");
    for n in 0..200 {
        let text = format!(
            "open({:?}, 'a').write('x')\n{}",
            marker.display().to_string(),
            plugin(&format!("p-{n}"), "return 1")
        );
        world.write(&format!("plugins/p{n:03}.py"), text);
    }
    let first = world.run("list");
    assert_eq!(first.stdout.lines().count(), 200, "{}", first.stderr);
    assert_eq!(world.read("ran").len(), 200);
    let second = world.run("list");
    assert_eq!(second.stdout, first.stdout);
    assert_eq!(world.read("ran").len(), 200, "a plugin was run again");
    let done = world.run("--no-cache list");
    assert_eq!(done.stdout, first.stdout);
    assert_eq!(
        world.read("ran").len(),
        400,
        "without the cache every plugin is run"
    );
}

#[test]
fn the_cache_is_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with(&[("plugins/a.py", &plugin("a", "return 1"))]);
    assert_eq!(world.run("list").code(), 0);
    let mode = std::fs::metadata(world.cache())
        .expect("the cache")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}
