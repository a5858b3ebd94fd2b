//! Opening: what is refused, what is said, and many at once.

use kodex_store::{
    Access, Bounds, Statement, Step, Store, Value,
    journal::{StepKind, checksum},
    postgres::{Isolation, PgOptions, PgStore},
};

use kodex_store::suite::database::{Database, connect, name, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_reached_does_not_tell_the_password() {
    let database = Database::new().await;
    for (url, code) in [
        (
            database.url.replace("host-password", "secret-word"),
            "store.unreachable",
        ),
        (
            "postgres://user:secret-word@127.0.0.1:1/db".to_owned(),
            "store.unreachable",
        ),
        (
            database.url.replace("host-password", "secret-word")
                + "&sslrootcert=/nowhere/ca.crt&sslmode=verify-ca",
            "store.unsupported",
        ),
        (
            "postgres://user:secret-word@127.0.0.1:port/db".to_owned(),
            "store.place",
        ),
    ] {
        let error = PgStore::open(PgOptions::new(&url))
            .await
            .expect_err("cannot open");
        assert_eq!(error.code(), code, "{error}");
        let said = format!("{error} {error:?} {:?}", PgOptions::new(&url));
        assert!(!said.contains("secret-word"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_make_roles_the_schema_is_what_is_left() {
    let database = Database::with("NOCREATEROLE").await;
    let error = PgStore::open(database.options())
        .await
        .expect_err("lacks a right");
    assert_eq!(error.code(), "store.unsupported");
    assert!(
        error.to_string().contains("CREATEROLE") && error.to_string().contains("schema"),
        "{error}"
    );
    let mut options = database.options();
    options.isolation = Isolation::SchemaOnly;
    let store = PgStore::open(options).await.expect("opens");
    let space = store
        .namespace(&name("one"), Access::Migrate)
        .await
        .expect("opens");
    for text in ["CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)"] {
        space
            .run(&Statement::new(text), &Bounds::default())
            .await
            .expect("works");
    }
    let reader = store
        .namespace(&name("one"), Access::Read)
        .await
        .expect("opens");
    let write = reader
        .run(&Statement::new("DELETE FROM t"), &Bounds::default())
        .await;
    assert_eq!(write.expect_err("only reads").code(), "store.read_only");
    store.close().await.expect("closes");

    let admin = connect(&server()).await;
    admin
        .batch_execute(&format!("ALTER ROLE {} CREATEROLE", database.name()))
        .await
        .expect("grants");
    let store = PgStore::open(database.options()).await.expect("opens");
    let space = store
        .namespace(&name("one"), Access::Write)
        .await
        .expect("gets roles");
    let rows = space
        .run(
            &Statement::new("UPDATE t SET id = 2 RETURNING id"),
            &Bounds::default(),
        )
        .await;
    assert_eq!(
        rows.expect("the tables went along").rows,
        [[Value::Integer(2)]]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_left_alone() {
    let database = Database::new().await;
    PgStore::open(database.options())
        .await
        .expect("opens")
        .close()
        .await
        .expect("closes");
    let admin = connect(&database.admin).await;
    let newer = "UPDATE kodex.meta SET value = '99' WHERE name = 'format'";
    admin.batch_execute(newer).await.expect("updates");
    let error = PgStore::open(database.options())
        .await
        .expect_err("is newer");
    assert_eq!(error.code(), "store.newer");
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_that_open_at_once_make_one() {
    let database = Database::new().await;
    let open = || PgStore::open(database.options());
    let (a, b, c) = tokio::join!(open(), open(), open());
    let stores = [a.expect("opens"), b.expect("opens"), c.expect("opens")];
    let plugin = name("one");
    let space = |at: usize| stores[at].namespace(&plugin, Access::Write);
    let (a, b, c) = tokio::join!(space(0), space(1), space(2));
    for space in [a, b, c] {
        let one = space
            .expect("opens")
            .run(&Statement::new("SELECT 1"), &Bounds::default())
            .await;
        assert_eq!(one.expect("answers").rows, [[Value::Integer(1)]]);
    }
    assert_eq!(
        stores[0].plugins().await.map(|plugins| plugins.len()),
        Ok(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_server_have_roles_of_their_own() {
    let (one, two) = (Database::new().await, Database::new().await);
    for database in [&one, &two] {
        let store = PgStore::open(database.options()).await.expect("opens");
        let space = store
            .namespace(&name("same"), Access::Migrate)
            .await
            .expect("opens");
        space
            .run(
                &Statement::new("CREATE TABLE t (id INT)"),
                &Bounds::default(),
            )
            .await
            .expect("creates");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_work_without_being_prepared() {
    let database = Database::new().await;
    let mut options = database.options();
    options.prepare = false;
    let store = PgStore::open(options).await.expect("opens");
    let space = store
        .namespace(&name("one"), Access::Migrate)
        .await
        .expect("opens");
    let bounds = Bounds::default();
    space
        .run(
            &Statement::new("CREATE TABLE t (id BIGINT, at TIMESTAMPTZ)"),
            &bounds,
        )
        .await
        .expect("creates");
    let insert = Statement::with(
        "INSERT INTO t VALUES (?, ?)",
        [
            Value::Integer(1),
            Value::Text("2026-01-02T03:04:05+01:00".into()),
        ],
    );
    space.run(&insert, &bounds).await.expect("inserts");
    let rows = space
        .run(&Statement::new("SELECT id, at FROM t"), &bounds)
        .await
        .expect("selects");
    assert_eq!(rows.columns[1].kind, "timestamptz");
    assert_eq!(rows.rows[0][1], Value::Text("2026-01-02T02:04:05Z".into()));
    let mut cursor = space
        .open(&Statement::new("SELECT id FROM t"), &bounds)
        .await
        .expect("opens");
    assert_eq!(cursor.next(9, &bounds).await.expect("reads").rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_over_its_quota_may_only_make_room() {
    let database = Database::new().await;
    let mut options = database.options();
    options.quota_bytes = Some(256 << 10);
    let store = PgStore::open(options).await.expect("opens");
    let bounds = Bounds::default();
    let migrate = store
        .namespace(&name("one"), Access::Migrate)
        .await
        .expect("opens");
    let table = Statement::new("CREATE TABLE t (id INT, v TEXT)");
    migrate.run(&table, &bounds).await.expect("creates");
    let space = store
        .namespace(&name("one"), Access::Write)
        .await
        .expect("opens");
    let insert = "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 50) i";
    let mut done = Ok(());
    for _ in 0..64 {
        done = space
            .run(&Statement::new(insert), &bounds)
            .await
            .map(|_| ());
        if done.is_err() {
            break;
        }
    }
    assert_eq!(done.expect_err("has no room left").code(), "store.full");
    let again = space.run(&Statement::new(insert), &bounds).await;
    assert_eq!(again.expect_err("still has none").code(), "store.full");
    for text in ["SELECT count(*) FROM t", "DELETE FROM t"] {
        let done = space.run(&Statement::new(text), &bounds).await;
        done.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

/// As on servers that lack the language, or what of it a step needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_need_no_plpgsql() {
    let database = Database::new().await;
    let admin = connect(&database.admin).await;
    let gone = admin.batch_execute("DROP EXTENSION plpgsql").await;
    gone.expect("drops the language");
    for isolation in [Isolation::Roles, Isolation::SchemaOnly] {
        let mut options = database.options();
        options.isolation = isolation;
        let store = PgStore::open(options).await.expect("opens");
        let plugin = name(match isolation {
            Isolation::Roles => "roles",
            Isolation::SchemaOnly => "schema",
        });
        let ledger = store.ledger();
        let first = step(
            "0001_a.sql",
            "CREATE TABLE a (id INT); INSERT INTO a VALUES (1);",
        );
        let first = ledger.apply(&plugin, &first, None).await.expect("applies");
        let after = Some(first.id.as_str());
        for (text, code) in [
            (
                "CREATE TABLE b (id INT); INSERT INTO nothing VALUES (1);",
                "db.sql",
            ),
            ("CREATE TABLE b (id INT); SELEC 1;", "db.sql"),
            ("CREATE TABLE b (id INT); ROLLBACK;", "db.statement"),
        ] {
            let broken = step("0002_b.sql", text);
            let error = ledger.apply(&plugin, &broken, after).await;
            assert_eq!(error.expect_err(text).code(), code, "{text}");
            assert_eq!(
                ledger.applied(&plugin).await.expect("reads").len(),
                1,
                "{text}"
            );
            let tables = store.tables(&plugin).await.expect("tells");
            assert_eq!(tables.len(), 1, "{text}");
        }
        let next = step("0002_b.sql", "CREATE TABLE b AS SELECT * FROM a;");
        ledger.apply(&plugin, &next, after).await.expect("goes on");
        let space = store
            .namespace(&plugin, Access::Write)
            .await
            .expect("opens");
        let insert = Statement::new("INSERT INTO b VALUES (2)");
        let done = space.run(&insert, &Bounds::default()).await;
        assert_eq!(done.expect("is the plugin's").n_changed, 1);
        store.close().await.expect("closes");
    }
}

fn step(file: &str, text: &str) -> Step {
    Step {
        number: file[..4].parse().expect("a number"),
        file: file.to_owned(),
        kind: StepKind::Sql,
        text: text.to_owned(),
        checksum: checksum(text.as_bytes()),
    }
}
