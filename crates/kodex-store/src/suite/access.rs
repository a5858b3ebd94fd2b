//! What each access may do, and what no statement of a plugin may do.

use super::{
    Case, cases,
    given::{Given, code, n_rows, only, run, run_with, soon, step, texts},
};
use crate::{Access, Engine, Statement, Value};

pub(super) const CASES: &[Case] = cases![
    each_access_does_its_part,
    a_handle_for_reading_creates_nothing,
    foreign_names_are_out_of_reach,
    attacks_fail_and_leave_everything_as_it_was,
    no_statement_ends_a_transaction,
    the_ledger_is_out_of_reach_also_behind_views_and_triggers,
    own_objects_work,
];

const NOTES: &str = "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL)";

/// Whether a statement was kept from what it tried, by a refusal or because there is nothing of that name.
fn is_kept_away(code: &str) -> bool {
    matches!(
        code,
        "db.refused" | "db.sql" | "db.statement" | "db.transaction"
    )
}

async fn each_access_does_its_part(given: Given) {
    given
        .with(&[NOTES, "INSERT INTO notes VALUES (1, 'a')"])
        .await;
    let table = [
        ("SELECT text FROM notes", [true, true, true]),
        ("INSERT INTO notes VALUES (2, 'b')", [false, true, true]),
        (
            "UPDATE notes SET text = 'c' WHERE id = 2",
            [false, true, true],
        ),
        ("DELETE FROM notes WHERE id = 2", [false, true, true]),
        ("CREATE TABLE more (id BIGINT)", [false, false, true]),
        (
            "ALTER TABLE notes ADD COLUMN extra TEXT",
            [false, false, true],
        ),
        ("CREATE INDEX by_text ON notes (text)", [false, false, true]),
        ("DROP INDEX by_text", [false, false, true]),
        ("DROP TABLE more", [false, false, true]),
    ];
    let accesses = [Access::Read, Access::Write, Access::Migrate];
    for (text, allowed) in table {
        for (access, allowed) in accesses.into_iter().zip(allowed) {
            let space = given.space(access).await;
            let code = code(&*space, text).await;
            if allowed {
                assert_eq!(code, "ok", "{access:?}: {text}");
                if text.starts_with("INSERT") && access == Access::Write {
                    run(&*space, "DELETE FROM notes WHERE id = 2").await;
                }
            } else if given.is(Engine::Sqlite) {
                assert_eq!(code, "db.refused", "{access:?}: {text}");
            } else {
                assert!(
                    code == "db.refused" || is_kept_away(code),
                    "{access:?}: {text}: {code}"
                );
            }
        }
    }
}

async fn a_handle_for_reading_creates_nothing(given: Given) {
    let space = given.space(Access::Read).await;
    assert_eq!(
        *only(&run(&*space, "SELECT 1 + 1").await),
        Value::Integer(2)
    );
    assert_eq!(code(&*space, "SELECT * FROM notes").await, "db.sql");
    let plugins = given.store.plugins().await.expect("lists");
    assert!(!plugins.contains(&given.plugin), "{plugins:?}");
    assert_eq!(given.store.tables(&given.plugin).await, Ok(Vec::new()));
    given.with(&[NOTES]).await;
    assert_eq!(
        n_rows(&*space, "notes").await,
        0,
        "it sees what was made meanwhile"
    );
}

async fn foreign_names_are_out_of_reach(given: Given) {
    let other = given.space_of(&given.other, Access::Migrate).await;
    run(&*other, "CREATE TABLE secrets (text TEXT)").await;
    run(&*other, "INSERT INTO secrets VALUES ('hidden')").await;
    let space = given.with(&[NOTES]).await;
    let migrate = given.space(Access::Migrate).await;
    let other_name = given.other.as_str();
    for text in [
        "SELECT * FROM secrets".to_owned(),
        format!("SELECT * FROM {other_name}.secrets"),
        format!("SELECT * FROM \"{other_name}\".secrets"),
        "DELETE FROM secrets".to_owned(),
        "DROP TABLE secrets".to_owned(),
        format!("DROP TABLE {other_name}.secrets"),
        format!("CREATE TABLE {other_name}.mine (id BIGINT)"),
    ] {
        for space in [&space, &migrate] {
            let code = code(&**space, &text).await;
            assert!(is_kept_away(code), "{text}: {code}");
        }
    }
    run(&*migrate, "CREATE TABLE secrets (text TEXT)").await;
    assert_eq!(
        n_rows(&*space, "secrets").await,
        0,
        "the same name is another table"
    );
    assert_eq!(n_rows(&*other, "secrets").await, 1);
}

/// What a hostile plugin would try, by engine. It fails with every access.
const ATTACKS: &[(Option<Engine>, &str)] = &[
    (None, "SELECT * FROM kodex_journal"),
    (None, "SELECT count(*) FROM kodex_progress"),
    (
        None,
        "INSERT INTO kodex_journal VALUES ('plugin:x/0001_a.sql', 'x', 0)",
    ),
    (None, "DELETE FROM kodex_journal"),
    (None, "DROP TABLE kodex_journal"),
    (None, "ALTER TABLE kodex_journal ADD COLUMN mine TEXT"),
    (None, "SELECT * FROM state"),
    (None, "SELECT * FROM leases"),
    (None, "DELETE FROM kodex_meta"),
    (None, "SELECT 1; DROP TABLE notes"),
    (Some(Engine::Sqlite), "CREATE TABLE kodex_mine (id BIGINT)"),
    (
        Some(Engine::Sqlite),
        "CREATE TRIGGER t AFTER INSERT ON kodex_journal BEGIN SELECT 1; END",
    ),
    (Some(Engine::Sqlite), "CREATE INDEX kodex_i ON notes (text)"),
    (
        Some(Engine::Sqlite),
        "ALTER TABLE notes RENAME TO kodex_notes",
    ),
    (Some(Engine::Sqlite), "ATTACH '/tmp/x.db' AS x"),
    (Some(Engine::Sqlite), "ATTACH ':memory:' AS x"),
    (Some(Engine::Sqlite), "DETACH main"),
    (Some(Engine::Sqlite), "VACUUM INTO '/tmp/kodex-stolen.db'"),
    (Some(Engine::Sqlite), "PRAGMA writable_schema = 1"),
    (Some(Engine::Sqlite), "PRAGMA journal_mode = DELETE"),
    (Some(Engine::Sqlite), "PRAGMA query_only = 0"),
    (Some(Engine::Sqlite), "PRAGMA max_page_count = 4000000000"),
    (Some(Engine::Sqlite), "PRAGMA foreign_keys = 0"),
    (Some(Engine::Sqlite), "PRAGMA database_list"),
    (Some(Engine::Sqlite), "PRAGMA table_info(kodex_journal)"),
    (Some(Engine::Sqlite), "SELECT * FROM pragma_database_list"),
    (Some(Engine::Sqlite), "SELECT * FROM dbstat"),
    (Some(Engine::Sqlite), "SELECT load_extension('x')"),
    (Some(Engine::Sqlite), "SELECT fts3_tokenizer('simple')"),
    (Some(Engine::Sqlite), "SELECT writefile('/tmp/x', 'y')"),
    (Some(Engine::Sqlite), "SELECT sqlite_log(1, 'x')"),
    (Some(Engine::Sqlite), "UPDATE sqlite_schema SET sql = ''"),
    (
        Some(Engine::Sqlite),
        "INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 1, '')",
    ),
    (Some(Engine::Sqlite), "CREATE TEMP TABLE mine (id BIGINT)"),
    (
        Some(Engine::Sqlite),
        "CREATE TEMP TRIGGER t AFTER INSERT ON notes BEGIN SELECT 1; END",
    ),
    (
        Some(Engine::Sqlite),
        "CREATE VIRTUAL TABLE x USING fts4(text)",
    ),
    (Some(Engine::Sqlite), "CREATE VIRTUAL TABLE x USING dbstat"),
    (Some(Engine::Sqlite), "SELECT * FROM main.kodex_journal"),
    (
        Some(Engine::Sqlite),
        "WITH x AS (SELECT * FROM kodex_journal) SELECT * FROM x",
    ),
    (
        Some(Engine::Sqlite),
        "SELECT (SELECT id FROM kodex_journal LIMIT 1)",
    ),
    (Some(Engine::Sqlite), "EXPLAIN SELECT * FROM kodex_journal"),
    (Some(Engine::Postgres), "SET ROLE postgres"),
    (Some(Engine::Postgres), "SET SESSION AUTHORIZATION postgres"),
    (Some(Engine::Postgres), "SELECT pg_read_file('/etc/passwd')"),
    (Some(Engine::Postgres), "COPY notes TO PROGRAM 'true'"),
    (Some(Engine::Postgres), "COPY notes FROM '/etc/passwd'"),
    (Some(Engine::Postgres), "CREATE SCHEMA mine"),
    (Some(Engine::Postgres), "CREATE ROLE mine"),
    (
        Some(Engine::Postgres),
        "CREATE TABLE public.mine (id BIGINT)",
    ),
    (Some(Engine::Postgres), "CREATE EXTENSION dblink"),
    (Some(Engine::Postgres), "SELECT rolpassword FROM pg_authid"),
    (
        Some(Engine::Postgres),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    ),
    (Some(Engine::Postgres), "ALTER SYSTEM SET fsync = off"),
    (Some(Engine::Postgres), "SELECT lo_import('/etc/passwd')"),
];

async fn attacks_fail_and_leave_everything_as_it_was(given: Given) {
    let newest = given
        .apply(&[step(
            "0001_a.sql",
            "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT)",
        )])
        .await;
    run(
        &*given.space(Access::Write).await,
        "INSERT INTO notes VALUES (1, 'a')",
    )
    .await;
    given.set("key", "1").await;
    for (engine, text) in ATTACKS {
        if engine.is_some_and(|engine| !given.is(engine)) {
            continue;
        }
        for access in [Access::Read, Access::Write, Access::Migrate] {
            let space = given.space(access).await;
            let code = code(&*space, text).await;
            assert!(is_kept_away(code), "{access:?}: {text}: {code}");
        }
    }
    let space = given.space(Access::Read).await;
    assert_eq!(n_rows(&*space, "notes").await, 1);
    let applied = given
        .store
        .ledger()
        .applied(&given.plugin)
        .await
        .expect("reads");
    assert_eq!(applied.last().map(|row| row.id.clone()), newest);
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
}

async fn no_statement_ends_a_transaction(given: Given) {
    let space = given.with(&[NOTES]).await;
    for text in [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "END",
        "SAVEPOINT x",
        "RELEASE x",
        "ROLLBACK TO x",
    ] {
        let alone = code(&*space, text).await;
        assert!(is_kept_away(alone), "{text}: {alone}");
        let bounds = crate::Bounds::default();
        let mut transaction = soon(space.begin(&bounds)).await.expect("begins");
        let insert = Statement::new("INSERT INTO notes VALUES (1, 'a')");
        soon(transaction.run(&insert, &bounds))
            .await
            .expect("inserts");
        let statement = Statement::new(text);
        let inside = soon(transaction.run(&statement, &bounds)).await;
        let inside = inside.expect_err("is refused").code();
        assert!(is_kept_away(inside), "{text}: {inside}");
        soon(transaction.rollback()).await.expect("rolls back");
        assert_eq!(n_rows(&*space, "notes").await, 0, "{text}");
    }
}

async fn the_ledger_is_out_of_reach_also_behind_views_and_triggers(given: Given) {
    given.apply(&[step("0001_a.sql", NOTES)]).await;
    let space = given.space(Access::Migrate).await;
    for text in [
        "CREATE VIEW peek AS SELECT * FROM kodex_journal",
        "CREATE TRIGGER forge AFTER INSERT ON notes BEGIN DELETE FROM kodex_journal; END",
    ] {
        // Making one may work; using it does not.
        let _ = code(&*space, text).await;
    }
    let write = given.space(Access::Write).await;
    let peek = code(&*write, "SELECT * FROM peek").await;
    assert!(is_kept_away(peek), "{peek}");
    let _ = code(&*write, "INSERT INTO notes VALUES (1, 'a')").await;
    let applied = given
        .store
        .ledger()
        .applied(&given.plugin)
        .await
        .expect("reads");
    assert_eq!(applied.len(), 1);
}

async fn own_objects_work(given: Given) {
    let space = given
        .with(&[
            NOTES,
            "CREATE TABLE tags (note BIGINT NOT NULL REFERENCES notes (id) ON DELETE CASCADE, tag TEXT, PRIMARY KEY (note, tag))",
            "CREATE INDEX by_tag ON tags (tag)",
            "CREATE UNIQUE INDEX by_text ON notes (lower(text))",
            "CREATE VIEW tagged AS SELECT text AS name, tag FROM notes JOIN tags ON note = id",
            "ALTER TABLE notes RENAME TO pages",
            "ALTER TABLE pages RENAME COLUMN text TO title",
            "ALTER TABLE pages ADD COLUMN size BIGINT NOT NULL DEFAULT 0",
        ])
        .await;
    run(
        &*space,
        "INSERT INTO pages (id, title) VALUES (1, 'One'), (2, 'Two')",
    )
    .await;
    run(
        &*space,
        "INSERT INTO tags VALUES (1, 'a'), (1, 'b'), (2, 'b')",
    )
    .await;
    let found = run(
        &*space,
        "SELECT name FROM tagged WHERE tag = 'b' ORDER BY name",
    )
    .await;
    assert_eq!(texts(&found), ["One", "Two"]);
    for (text, want) in [
        (
            "INSERT INTO pages (id, title) VALUES (1, 'x')",
            "db.constraint",
        ),
        (
            "INSERT INTO pages (id, title) VALUES (3, 'one')",
            "db.constraint",
        ),
        ("INSERT INTO pages (id) VALUES (3)", "db.constraint"),
        ("INSERT INTO tags VALUES (9, 'a')", "db.constraint"),
        ("SELECT nothing FROM pages", "db.sql"),
        ("SELEC 1", "db.sql"),
    ] {
        assert_eq!(code(&*space, text).await, want, "{text}");
    }
    let gone = run_with(
        &*space,
        "DELETE FROM pages WHERE id = ?",
        [Value::Integer(1)],
    )
    .await;
    assert_eq!(gone.n_changed, 1);
    assert_eq!(
        n_rows(&*space, "tags").await,
        1,
        "the deletion went on to the tags"
    );
}
