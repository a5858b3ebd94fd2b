//! What the SDKs offer of tables and values, in plugins that the real program runs, on files and on
//! Postgres. Every language and every engine gives the same report.

use std::process::{Command, Stdio};

use kodex_store::suite::database::Database;
use serde_json::{Value, json};

use crate::world::World;

const MANIFEST: &str = r#"
manifest = 1
[plugin]
name = "probe"
version = "0.1.0"
description = "Uses all that there is."
[run]
RUN
[[tool]]
name = "exercise"
description = "Uses tables and values, and says what came of it."
[[tool]]
name = "look"
description = "Says what a later call sees."
[database]
migrations = "migrations"
"#;

const SQLITE: &str = "CREATE TABLE things (
    id INTEGER PRIMARY KEY, whole INTEGER, text TEXT UNIQUE, bytes BLOB, doc JSON, told BOOLEAN);";
const POSTGRES: &str = "CREATE TABLE things (
    id BIGINT PRIMARY KEY, whole BIGINT, text TEXT UNIQUE, bytes BYTEA, doc JSONB, told BOOLEAN);";

const PYTHON: &str = r#"
import kodex
from kodex import db, state

plugin = kodex.Plugin("probe", "0.1.0", "Uses all that there is.")
plugin.database("migrations")
INSERT = "INSERT INTO things (id, whole, text, bytes, doc, told) VALUES (?, ?, ?, ?, ?, ?)"


@plugin.step("0002_first")
def first(step):
    db.execute("INSERT INTO things (id, text) VALUES (:id, :text)", {"id": 100, "text": "from the step"})
    state.set("stepped", step.progress)
    step.save(7, scanned=1)
    return {"scanned": 1, "migrated": 1}


def code(work):
    try:
        return work()
    except kodex.HostError as error:
        return error.code


def count():
    return db.query_one("SELECT count(*) AS n FROM things")["n"]


def fail_in_transaction():
    try:
        with db.transaction():
            db.execute("DELETE FROM things")
            raise ValueError("changed its mind")
    except ValueError:
        return count()


def keep_around_a_savepoint():
    with db.transaction():
        db.execute("INSERT INTO things (id, text) VALUES (2, 'kept')")
        try:
            with db.transaction():
                db.execute("INSERT INTO things (id, text) VALUES (3, 'kept')")
        except kodex.HostError as error:
            inner = error.code
    return [inner, count()]


def values():
    db.execute(INSERT, [1, 2**53 + 1, "ü \U0001f600", b"\0\xff", {"a": [1, None]}, True])
    row = db.query_one("SELECT whole, text, bytes, doc FROM things WHERE id = $1", [1])
    return [str(row["whole"]), row["text"], row["bytes"].hex(), row["doc"]]


def pages():
    return [row["id"] for row in db.pages("SELECT id FROM things ORDER BY id", n_rows=2)]


def keys():
    state.set("a/1", [1], ttl=60)
    first, second = state.set_if_absent("a/2", 2), state.set_if_absent("a/2", 3)
    entry = state.entry("a/2")
    swapped = state.compare_and_swap("a/2", 4, version=entry.version)
    lost = state.compare_and_swap("a/2", 5, version=entry.version)
    state.update("n", lambda n: n + 1, 0)
    listed = [str(key) for key in state.list("a/")]
    return [first, second, bool(swapped), bool(lost), state.get("a/2"), state.get("n"), listed, state.delete("a/1")]


def locks():
    with state.lock("l", ttl=30) as lease:
        held = code(lambda: state.lock("l", ttl=30).__enter__())
        state.set("under", 1, under=lease)
        token = lease.token
    with state.lock("l", ttl=30) as again:
        late = code(lambda: state.set("under", 2, under=lease))
        return [held, again.token > token, late, state.get("under")]


@plugin.tool("exercise", description="Uses tables and values, and says what came of it.")
def exercise(input):
    return {
        "values": values(),
        "failed": fail_in_transaction(),
        "savepoint": keep_around_a_savepoint(),
        "pages": pages(),
        "constraint": code(lambda: db.execute("INSERT INTO things (id) VALUES (1)")),
        "syntax": code(lambda: db.execute("SELEC 1")),
        "schema": code(lambda: db.execute("DROP TABLE things")),
        "two": code(lambda: db.query_one("SELECT id FROM things")),
        "parameters": code(lambda: db.query("SELECT ?", [])),
        "keys": keys(),
        "locks": locks(),
        "left open": leave_open(),
    }


def leave_open():
    db.transaction().__enter__()
    return db.execute("DELETE FROM things")


@plugin.tool("look", description="Says what a later call sees.")
def look(input):
    return {"rows": count(), "n": state.get("n"), "stepped": state.get("stepped", "nothing")}
"#;

const NODE: &str = r#"
import { createPlugin } from "./kodex.mjs";

const INSERT = "INSERT INTO things (id, whole, text, bytes, doc, told) VALUES (?, ?, ?, ?, ?, ?)";

const code = async (work) => {
  try {
    return await work();
  } catch (error) {
    return error.code;
  }
};

const count = async (db) => (await db.queryOne("SELECT count(*) AS n FROM things")).n;

async function failInTransaction(db) {
  try {
    await db.transaction(async () => {
      await db.execute("DELETE FROM things");
      throw new TypeError("changed its mind");
    });
  } catch {
    return count(db);
  }
}

async function keepAroundASavepoint(db) {
  let inner;
  await db.transaction(async () => {
    await db.execute("INSERT INTO things (id, text) VALUES (2, 'kept')");
    inner = await code(() => db.transaction(() => db.execute("INSERT INTO things (id, text) VALUES (3, 'kept')")));
  });
  return [inner, await count(db)];
}

async function values(db) {
  await db.execute(INSERT, [1, 2n ** 53n + 1n, "ü \u{1f600}", new Uint8Array([0, 255]), { a: [1, null] }, true]);
  const row = await db.queryOne("SELECT whole, text, bytes, doc FROM things WHERE id = $1", [1]);
  return [String(row.whole), row.text, Buffer.from(row.bytes).toString("hex"), row.doc];
}

async function pages(db) {
  const ids = [];
  for await (const row of db.pages("SELECT id FROM things ORDER BY id", [], { rows: 2 })) ids.push(row.id);
  return ids;
}

async function keys(state) {
  await state.set("a/1", [1], { ttlMs: 60_000 });
  const first = await state.setIfAbsent("a/2", 2);
  const second = await state.setIfAbsent("a/2", 3);
  const entry = await state.entry("a/2");
  const swapped = await state.compareAndSwap("a/2", 4, { version: entry.version });
  const lost = await state.compareAndSwap("a/2", 5, { version: entry.version });
  await state.update("n", (n = 0) => n + 1);
  const listed = [];
  for await (const { key } of state.list("a/")) listed.push(key);
  return [
    Boolean(first), Boolean(second), Boolean(swapped), Boolean(lost),
    await state.get("a/2"), await state.get("n"), listed, await state.delete("a/1"),
  ];
}

async function locks(state) {
  let before, held;
  await state.lock("l", { ttlMs: 30_000 }, async (lease) => {
    held = await code(() => state.lock("l", { ttlMs: 30_000 }, () => "taken"));
    await state.set("under", 1, { under: lease });
    before = lease;
  });
  return state.lock("l", { ttlMs: 30_000 }, async (again) => {
    const late = await code(() => state.set("under", 2, { under: before }));
    return [held, again.token > before.token, late, await state.get("under")];
  });
}

createPlugin({ name: "probe", version: "0.1.0" })
  .step("0002_first", async (step) => {
    await step.db.execute("INSERT INTO things (id, text) VALUES (:id, :text)", { id: 100, text: "from the step" });
    await step.state.set("stepped", step.progress ?? null);
    await step.save(7, { scanned: 1 });
    return { scanned: 1, migrated: 1 };
  })
  .tool("exercise", async (input, { db, state, host }) => ({
    values: await values(db),
    failed: await failInTransaction(db),
    savepoint: await keepAroundASavepoint(db),
    pages: await pages(db),
    constraint: await code(() => db.execute("INSERT INTO things (id) VALUES (1)")),
    syntax: await code(() => db.execute("SELEC 1")),
    schema: await code(() => db.execute("DROP TABLE things")),
    two: await code(() => db.queryOne("SELECT id FROM things")),
    parameters: await code(() => db.query("SELECT ?", [])),
    keys: await keys(state),
    locks: await locks(state),
    "left open": await leaveOpen(db),
  }))
  .tool("look", async (input, { db, state }) => ({
    rows: await count(db),
    n: await state.get("n"),
    stepped: await state.get("stepped"),
  }))
  .run(import.meta.url);

function leaveOpen(db) {
  return new Promise((resolve) => {
    // Never settles: the host ends it with the call.
    void db.transaction(async () => {
      resolve(await db.execute("DELETE FROM things"));
      await new Promise(() => {});
    });
  });
}
"#;

/// What every language reports from every engine.
fn report() -> Value {
    json!({
        "values": ["9007199254740993", "ü \u{1f600}", "00ff", {"a": [1, null]}],
        "failed": 2,
        "savepoint": ["db.constraint", 3],
        "pages": [1, 2, 100],
        "constraint": "db.constraint",
        "syntax": "db.sql",
        "schema": "db.refused",
        "two": "db.too_many_rows",
        "parameters": "db.statement",
        "keys": [true, false, true, false, 4, 1, ["a/1", "a/2"], true],
        "locks": ["state.locked", true, "state.lease_lost", 1],
        "left open": 3,
    })
}

/// A fresh database on the private server.
fn database() -> Database {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(Database::new())
}

fn document(world: &World, line: &str) -> Value {
    let done = world.run(line);
    serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{line}: {done:?}"))
}

fn check(run: &str, files: &[(&str, &str)]) {
    let manifest = MANIFEST.replace("RUN", run);
    let mut all = vec![
        ("plugins/probe/kodex.toml", manifest.as_str()),
        ("plugins/probe/migrations/0001_things.sqlite.sql", SQLITE),
        (
            "plugins/probe/migrations/0001_things.postgres.sql",
            POSTGRES,
        ),
        (
            "plugins/probe/migrations/0002_first.sql",
            "-- kodex: code\n",
        ),
    ];
    all.extend(files);
    let database = database();
    for store in ["sqlite:store", &database.url] {
        let world = World::with(&all).set("KODEX_DATABASE_URL", store);
        let done = world.run("upgrade");
        assert_eq!(done.code(), 0, "{run} {done:?}");
        let got = document(&world, "call probe/exercise");
        assert_eq!(got, report(), "{run} on {store}");
        let later = json!({"rows": 3, "n": 1, "stepped": null});
        assert_eq!(
            document(&world, "call probe/look"),
            later,
            "{run} on {store}"
        );
    }
}

#[test]
fn a_plugin_in_python_finds_the_same_on_every_engine() {
    check(
        "kind = \"python\"\nentry = \"plugin.py\"",
        &[("plugins/probe/plugin.py", PYTHON)],
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether there is a Node on this machine"
)]
fn a_plugin_in_javascript_finds_the_same_on_every_engine() {
    let mut node = Command::new("node");
    if node
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        return;
    }
    let sdk = include_str!("../../../../sdks/typescript/kodex.mjs");
    check(
        "kind = \"process\"\ncommand = [\"node\", \"plugin.mjs\"]",
        &[
            ("plugins/probe/plugin.mjs", NODE),
            ("plugins/probe/kodex.mjs", sdk),
        ],
    );
}

/// The example of the book, as its `try.sh` runs it on files.
#[test]
fn the_notes_keep_on_postgres_what_they_keep_on_files() {
    macro_rules! files {
        ($($path:literal)*) => {
            [$((
                concat!("plugins/notes/", $path),
                include_str!(concat!("../../../../examples/notes/plugins/notes/", $path)),
            )),*]
        };
    }
    let files = files!["kodex.toml" "plugin.py" "migrations/0001_notes.sql"
                       "migrations/0002_tags.sql" "migrations/0003_tag_old_notes.sql"];
    let database = database();
    for store in ["sqlite:store", &database.url] {
        let world = World::with(&files).set("KODEX_DATABASE_URL", store);
        assert_eq!(world.run("upgrade").code(), 0, "{store}");
        let call = |tool: &str, input: Value| {
            let done = world.args([
                "call",
                &format!("notes/{tool}"),
                "--input",
                &input.to_string(),
            ]);
            serde_json::from_str(&done.stdout)
                .unwrap_or_else(|_| panic!("{store} {tool}: {done:?}"))
        };
        let added: Value = call("add_note", json!({"text": "Buy milk #shop #Home"}));
        assert_eq!(added["tags"], json!(["home", "shop"]), "{store}");
        let found: Value = call("find_notes", json!({"tag": "#SHOP"}));
        assert_eq!(found["notes"][0]["text"], "Buy milk #shop #Home", "{store}");
        assert_eq!(found["n_added"], 1, "{store}");
        let payload = r#"{"prompt": "Where is milk?", "session_id": "s"}"#;
        let remind = || {
            world
                .args(["emit", "prompt.submit", "--payload", payload])
                .stdout
        };
        assert!(remind().contains("- Buy milk #shop"), "{store}");
        assert!(
            !remind().contains("- Buy milk #shop"),
            "once for each session: {store}"
        );
        let forgotten: Value = call("forget_old_notes", json!({"days": 0}));
        assert_eq!(forgotten["forgotten"], 1, "{store}");
        let left: Value = call("find_notes", json!({}));
        assert_eq!(left["notes"], json!([]), "{store}");
    }
}
