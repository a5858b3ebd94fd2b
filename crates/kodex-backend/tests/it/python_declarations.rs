//! Listing plugins through the cache: what is asked of Python again, and what is not.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use kodex_backend::python::{
    Answer, Contexts, Declarant, Declarations, Declared, Identity, Interpreter, Sdk,
};
use kodex_plugin::Json;
use serde_json::json;

use crate::{
    python_inspect::{block_on, plugin},
    python_world::python,
};

/// Something that happens, in words and as code.
type Step<F> = (&'static str, F);

/// A plugin folder, a cache, and a clock that is moved by hand.
struct World {
    root: tempfile::TempDir,
    interpreter: Interpreter,
    sdk: Sdk,
    now_unix_ms: u64,
    fresh_failures: bool,
    contexts: Contexts,
}

impl World {
    /// With plugins `a`, `b` and `c` that are fine, written long before now.
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join("plugins")).expect("a folder");
        let mut interpreter = python();
        let site = root.path().join("site");
        fs::create_dir(&site).expect("a folder");
        interpreter.site_dirs = vec![site];
        let world = Self {
            root,
            interpreter,
            sdk: Sdk::embedded(),
            now_unix_ms: 0,
            fresh_failures: false,
            contexts: Contexts::new(Json::object()),
        };
        let written_at = ["a", "b", "c"].map(|name| world.write(name, &plugin(name, "", "")));
        Self {
            now_unix_ms: written_at[2] + 60_000,
            ..world
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("plugins").join(format!("{name}.py"))
    }

    /// Writes a plugin and says when that was.
    fn write(&self, name: &str, text: &str) -> u64 {
        let file = self.file(name);
        fs::write(&file, text).expect("a file");
        let written = fs::metadata(&file).expect("the file");
        u64::try_from(written.mtime()).expect("after 1970") * 1_000
    }

    fn declarants(&self, names: &[&str]) -> Vec<Declarant> {
        let declarant = |name: &&str| Declarant::file(self.file(name));
        names.iter().map(declarant).collect()
    }

    fn read(&self, declarants: &[Declarant]) -> Declared {
        let cache_dir = self.root.path().join("cache");
        let declarations = Declarations {
            interpreter: &self.interpreter,
            sdk: &self.sdk,
            contexts: &self.contexts,
            cache_dir: &cache_dir,
            deadline: Duration::from_secs(5),
            fresh_failures: self.fresh_failures,
            now_unix_ms: self.now_unix_ms,
        };
        block_on(declarations.read(declarants))
    }

    /// Lists and says what came, how many were inspected, and the codes of the diagnostics.
    fn list(&self, names: &[&str]) -> String {
        text_of(&self.read(&self.declarants(names)))
    }

    fn cache_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.path().join("cache/manifests"));
        let files = entries.into_iter().flatten().flatten();
        files.map(|entry| entry.path()).collect()
    }
}

fn text_of(declared: &Declared) -> String {
    let mut words: Vec<String> = declared.answers.iter().map(shown).collect();
    words.push(format!("({} inspected)", declared.n_inspected));
    words.extend(declared.diagnostics.iter().map(|found| found.code.clone()));
    words.join(" ")
}

fn shown(answer: &Answer) -> String {
    match answer {
        Ok(declaration) => {
            let manifest: serde_json::Value =
                serde_json::from_str(declaration.text()).expect("JSON");
            manifest["plugin"]["name"]
                .as_str()
                .expect("a name")
                .to_owned()
        }
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

/// Lists, changes something, lists again: what the second listing says.
fn check(change: impl FnOnce(&mut World), want: &str) {
    let mut world = World::new();
    assert_eq!(world.list(&["a", "b", "c"]), "a b c (3 inspected)");
    change(&mut world);
    assert_eq!(world.list(&["a", "b", "c"]), want);
    // Whatever it was, it is known afterwards.
    let again = world.list(&["a", "b", "c"]);
    assert!(again.ends_with("(0 inspected)"), "{again}");
}

#[test]
fn what_did_not_change_is_not_inspected_again() {
    check(|_| {}, "a b c (0 inspected)");
    check(|world| world.now_unix_ms += 1 << 40, "a b c (0 inspected)");
    check(
        |world| {
            world.write("b", &plugin("other", "", ""));
            world.now_unix_ms += 60_000;
        },
        "a other c (1 inspected)",
    );
    // The same content with another time, as after a checkout.
    check(
        |world| {
            let file = fs::File::options()
                .write(true)
                .open(world.file("b"))
                .expect("the file");
            let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            file.set_modified(long_ago).expect("a new time");
        },
        "a b c (0 inspected)",
    );
    // The same content in a new file.
    check(
        |world| {
            let text = fs::read(world.file("b")).expect("the file");
            fs::write(world.file("new"), text).expect("a file");
            fs::rename(world.file("new"), world.file("b")).expect("renamed");
        },
        "a b c (0 inspected)",
    );
    // Another content of the same size, with the old modification time put back.
    check(
        |world| {
            let before = fs::metadata(world.file("b")).expect("the file");
            let text = fs::read_to_string(world.file("b")).expect("the file");
            fs::write(world.file("b"), text.replace("\"b\", \"1", "\"x\", \"1")).expect("written");
            let file = fs::File::options()
                .write(true)
                .open(world.file("b"))
                .expect("the file");
            file.set_modified(before.modified().expect("a time"))
                .expect("a time");
            assert_eq!(file.metadata().expect("the file").len(), before.len());
        },
        "a x c (1 inspected)",
    );
}

#[test]
fn another_interpreter_sdk_or_context_is_another_answer() {
    let mut world = World::new();
    let file = world.write(
        "p",
        &plugin("p", "", "raise ValueError(context.get('org', 'none'))"),
    );
    world.now_unix_ms = file + 60_000;
    for (org, n) in [("x", 1), ("y", 1), ("x", 0), ("y", 0)] {
        world.contexts = Contexts::new(Json::from(json!({"org": org})));
        let want = format!("load.python.activate_failed: {org} ({n} inspected)");
        assert_eq!(world.list(&["p"]), want);
    }
    world.contexts = Contexts::new(Json::object());
    assert_eq!(world.list(&["a"]), "a (1 inspected)");
    // A copy of the interpreter is another one.
    let copy = world.root.path().join("copy");
    let venv = crate::python_world::environment(&world.interpreter, &copy);
    assert_ne!(identity(&venv), identity(&world.interpreter));
    world.interpreter.program = venv.program;
    assert_eq!(world.list(&["a"]), "a (1 inspected)");
    assert_eq!(world.list(&["a"]), "a (0 inspected)");
    assert_eq!(world.cache_files().len(), 2);
    world.interpreter.program = "/nowhere/python3".into();
    let gone = world.list(&["a"]);
    assert!(
        gone.starts_with("load.python.inspector: /nowhere/python3 is gone"),
        "{gone}"
    );
}

fn identity(interpreter: &Interpreter) -> Identity {
    interpreter.identity().expect("an identity")
}

#[test]
fn a_failure_is_believed_until_something_may_have_mended_it() {
    let failing = plugin("p", "import not_installed_yet", "");
    let failed = "load.python.raised: No module named 'not_installed_yet'";
    let start = || {
        let mut world = World::new();
        world.now_unix_ms = world.write("p", &failing) + 60_000;
        assert_eq!(world.list(&["p", "a"]), format!("{failed} a (2 inspected)"));
        assert_eq!(world.list(&["p", "a"]), format!("{failed} a (0 inspected)"));
        world
    };
    let changes: [Step<fn(&mut World)>; 5] = [
        ("somebody asks for it", |world| world.fresh_failures = true),
        ("a package was installed", |world| {
            fs::create_dir(world.interpreter.site_dirs[0].join("new-1.dist-info"))
                .expect("a folder");
        }),
        ("a minute has passed", |world| world.now_unix_ms += 60_000),
        ("the clock was set back", |world| world.now_unix_ms -= 1),
        ("the file was changed", |world| {
            let text = fs::read_to_string(world.file("p")).expect("the file");
            world.write("p", &format!("{text}\n"));
        }),
    ];
    for (what, change) in changes {
        let mut world = start();
        change(&mut world);
        assert_eq!(
            world.list(&["p", "a"]),
            format!("{failed} a (1 inspected)"),
            "{what}"
        );
    }
    // A hang costs seconds to find out, so it is believed for longer than an answer.
    let mut world = World::new();
    world.now_unix_ms = world.write("p", &plugin("p", "os._exit(3)", "")) + 60_000;
    assert!(world.list(&["p"]).ends_with("(1 inspected)"));
    world.now_unix_ms += 599_000;
    assert!(world.list(&["p"]).ends_with("(0 inspected)"));
    world.now_unix_ms += 1_000;
    assert!(world.list(&["p"]).ends_with("(1 inspected)"));
}

#[test]
fn a_file_that_changes_while_it_is_inspected_is_not_trusted() {
    let mut world = World::new();
    let grow = "open(__file__, 'a').write('#')";
    world.now_unix_ms = world.write("p", &plugin("p", grow, "")) + 60_000;
    assert_eq!(world.list(&["p", "a"]), "p a (2 inspected)");
    assert_eq!(world.list(&["p", "a"]), "p a (1 inspected)");
}

/// Lists, swaps the digests of the contents in the cache, and lists again after `later`. A file
/// that is looked into does not have the digest any more; one that is not cannot be told from before.
fn check_swapped(first_after_ms: u64, then_after_ms: u64, want: &str) {
    let mut world = World::new();
    let written_at = written_at_ms(&world.file("a"));
    world.now_unix_ms = written_at + first_after_ms;
    assert_eq!(world.list(&["a"]), "a (1 inspected)");
    let file = &world.cache_files()[0];
    let text = fs::read_to_string(file).expect("the cache");
    let rest = text.split_once('\n').expect("a line").1;
    let digest = rest.split('\t').find(|field| field.len() == 64);
    let swapped = rest.replace(digest.expect("a digest"), &"0".repeat(64));
    let sum = checksum(&swapped);
    fs::write(file, format!("kodex manifests {sum}\n{swapped}")).expect("written");
    world.now_unix_ms = written_at + then_after_ms;
    assert_eq!(world.list(&["a"]), want, "{first_after_ms} {then_after_ms}");
}

/// As the cache has it; with another one it would be damaged.
fn checksum(text: &str) -> String {
    let add = |sum: u64, part: &[u8]| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    };
    let sum = text.as_bytes().chunks(8).fold(text.len() as u64, add);
    format!("{sum:016x}")
}

fn written_at_ms(file: &Path) -> u64 {
    let file = fs::metadata(file).expect("the file");
    let seconds = u64::try_from(file.ctime()).expect("after 1970");
    seconds * 1_000 + u64::try_from(file.ctime_nsec()).expect("positive") / 1_000_000
}

#[test]
fn a_file_that_was_read_right_after_it_was_written_is_read_again() {
    // What matters is when it was read, not when it is asked for.
    check_swapped(0, 0, "a (1 inspected)");
    check_swapped(0, 60_000, "a (1 inspected)");
    check_swapped(50, 60_000, "a (1 inspected)");
    check_swapped(2_500, 2_500, "a (0 inspected)");
    check_swapped(2_500, 60_000, "a (0 inspected)");
    check_swapped(60_000, 0, "a (0 inspected)");
}

#[test]
fn a_known_content_is_stamped_anew_once() {
    let mut world = World::new();
    let inode = |world: &World| {
        fs::metadata(&world.cache_files()[0])
            .expect("the cache")
            .ino()
    };
    world.now_unix_ms = written_at_ms(&world.file("a"));
    assert_eq!(world.list(&["a"]), "a (1 inspected)");
    let first = inode(&world);
    world.now_unix_ms += 60_000;
    assert_eq!(world.list(&["a"]), "a (0 inspected)");
    let second = inode(&world);
    assert_ne!(
        first, second,
        "it was looked into, and that it was is written down"
    );
    assert_eq!(world.list(&["a"]), "a (0 inspected)");
    assert_eq!(inode(&world), second, "it was not looked into again");
}

#[test]
fn a_damaged_cache_is_reported_once_and_written_again() {
    let damages: [Step<fn(&Path)>; 7] = [
        ("garbage", |file| {
            fs::write(file, b"\x00\xff garbage").expect("written")
        }),
        ("a line that was changed", |file| {
            let text = fs::read_to_string(file).expect("the cache");
            fs::write(file, text.replace("\"a\"", "\"x\"")).expect("written");
        }),
        ("another form", |file| {
            fs::write(file, "{\"key\":").expect("written")
        }),
        ("a form of the future", |file| {
            fs::write(file, "kodex manifests\n").expect("written")
        }),
        ("a foreign key", |file| {
            let foreign = "another key\n";
            let text = format!("kodex manifests {}\n{foreign}", checksum(foreign));
            fs::write(file, text).expect("written");
        }),
        ("cut", |file| {
            let bytes = fs::read(file).expect("the cache");
            fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
        }),
        ("a folder", |file| {
            fs::remove_file(file).expect("removed");
            fs::create_dir(file).expect("a folder");
        }),
    ];
    for (what, damage) in damages {
        let world = World::new();
        assert_eq!(world.list(&["a", "b"]), "a b (2 inspected)");
        let files = world.cache_files();
        assert_eq!(files.len(), 1);
        damage(&files[0]);
        let said = world.list(&["a", "b"]);
        if what == "a folder" {
            // What cannot be replaced is said each time; the listing works.
            assert_eq!(
                said,
                "a b (2 inspected) cache.manifests.damaged cache.manifests.write"
            );
            continue;
        }
        assert_eq!(said, "a b (2 inspected) cache.manifests.damaged", "{what}");
        assert_eq!(world.list(&["a", "b"]), "a b (0 inspected)", "{what}");
        assert_eq!(world.cache_files().len(), 1, "nothing temporary is left");
    }
}

#[test]
fn a_cache_that_cannot_be_written_does_not_stop_a_listing() {
    let world = World::new();
    fs::create_dir(world.root.path().join("cache")).expect("a folder");
    fs::write(
        world.root.path().join("cache/manifests"),
        "a file in the way",
    )
    .expect("a file");
    let said = world.list(&["a"]);
    assert!(
        said.starts_with("a (1 inspected)") && said.contains("cache.manifests.write"),
        "{said}"
    );
    // Without a place for the SDK nothing can be inspected, and no plugin is blamed.
    let world = World::new();
    fs::write(world.root.path().join("cache"), "a file in the way").expect("a file");
    let said = world.list(&["a"]);
    assert!(
        said.starts_with("load.python.inspector: cannot unpack the Python SDK"),
        "{said}"
    );
}

#[test]
fn the_cache_does_not_grow_with_time() {
    let mut world = World::new();
    world.list(&["a", "b", "c"]);
    let size = |world: &World| {
        fs::metadata(&world.cache_files()[0])
            .expect("the cache")
            .len()
    };
    let full = size(&world);
    fs::remove_file(world.file("b")).expect("removed");
    fs::remove_file(world.file("c")).expect("removed");
    assert_eq!(world.list(&["a"]), "a (0 inspected)");
    assert_eq!(
        size(&world),
        full,
        "nothing is written where nothing changed"
    );
    world.now_unix_ms += world.write("a", &plugin("new", "", "")) / 1_000;
    assert_eq!(world.list(&["a"]), "new (1 inspected)");
    assert!(size(&world) < full / 2);
    // Caches of interpreters that are gone make room in the end.
    let manifests = world.root.path().join("cache/manifests");
    for n in 0..100 {
        fs::write(manifests.join(format!("{n}.cache")), "{}").expect("a file");
    }
    world.write("a", &plugin("newer", "", ""));
    assert_eq!(world.list(&["a"]), "newer (1 inspected)");
    assert_eq!(world.cache_files().len(), 64);
    assert_eq!(world.list(&["a"]), "newer (0 inspected)");
}

/// A package `pkg` with a plugin, installed in the site directory or as editable from `project`.
fn install(world: &World, editable: bool) -> Declarant {
    let site = world.interpreter.site_dirs[0].clone();
    let metadata = site.join("pkg-1.0.dist-info");
    fs::create_dir(&metadata).expect("a folder");
    let entry_points = metadata.join("entry_points.txt");
    fs::write(&entry_points, "[kodex.plugins]\np = pkg.mod:Plugin\n").expect("a file");
    fs::write(metadata.join("RECORD"), "pkg/mod.py,sha256=x,1\n").expect("a file");
    let code = match editable {
        true => {
            let project = world.root.path().join("project");
            let url = format!("file://{}", project.display());
            let origin = json!({"url": url, "dir_info": {"editable": true}});
            fs::write(metadata.join("direct_url.json"), origin.to_string()).expect("a file");
            project.join("src/pkg")
        }
        false => site.join("pkg"),
    };
    fs::create_dir_all(&code).expect("folders");
    fs::write(code.join("__init__.py"), "").expect("a file");
    fs::write(code.join("names.py"), "NAME = 'one'\n").expect("a file");
    let text = plugin("x", "from pkg.names import NAME", "");
    fs::write(code.join("mod.py"), text.replace("\"x\", \"1", "NAME, \"1")).expect("a file");
    let mut declarant = Declarant::object("pkg.mod:Plugin".into(), site, entry_points);
    if let (true, kodex_backend::python::Source::Object { path, .. }) =
        (editable, &mut declarant.source)
    {
        // An isolated Python would find it through the path file that pip writes.
        path.push(world.root.path().join("project/src"));
    }
    declarant
}

#[test]
fn an_installed_plugin_is_inspected_again_when_its_package_changes() {
    let changes: [(bool, &str, &str, &str); 5] = [
        (false, "site/pkg/mod.py", "# more\n", "one (1 inspected)"),
        (
            false,
            "site/pkg-1.0.dist-info/RECORD",
            "x,,\n",
            "one (1 inspected)",
        ),
        (
            false,
            "site/pkg-1.0.dist-info/entry_points.txt",
            "# more\n",
            "one (1 inspected)",
        ),
        (
            true,
            "project/src/pkg/names.py",
            "NAME = 'two'\n",
            "two (1 inspected)",
        ),
        (
            true,
            "project/src/pkg/mod.py",
            "# more\n",
            "one (1 inspected)",
        ),
    ];
    for (editable, file, more, want) in changes {
        let world = World::new();
        let declarant = [install(&world, editable)];
        assert_eq!(
            text_of(&world.read(&declarant)),
            "one (1 inspected)",
            "{file}"
        );
        assert_eq!(
            text_of(&world.read(&declarant)),
            "one (0 inspected)",
            "{file}"
        );
        let file = world.root.path().join(file);
        let text = fs::read_to_string(&file).expect("the file");
        fs::write(&file, format!("{text}{more}")).expect("written");
        assert_eq!(text_of(&world.read(&declarant)), want, "{file:?}");
        assert_eq!(
            text_of(&world.read(&declarant)).split(' ').nth(1),
            Some("(0"),
            "{file:?}"
        );
    }
}

#[test]
fn files_and_objects_are_listed_together_in_their_order() {
    let world = World::new();
    let mut declarants = world.declarants(&["c", "a"]);
    declarants.insert(1, install(&world, false));
    assert_eq!(text_of(&world.read(&declarants)), "c one a (3 inspected)");
    assert_eq!(text_of(&world.read(&declarants)), "c one a (0 inspected)");
    assert_eq!(world.cache_files().len(), 2);
    assert_eq!(text_of(&world.read(&[])), "(0 inspected)");
}
