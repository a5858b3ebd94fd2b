//! Types that only Postgres has, and plans that grow old.

use kodex_store::{
    Access, Bounds, Namespace, Statement, Store, StoreError, Value, postgres::PgStore,
};
use serde_json::json;

use kodex_store::suite::database::{Database, name};

async fn space(store: &PgStore, access: Access) -> std::sync::Arc<dyn Namespace> {
    store.namespace(&name("one"), access).await.expect("opens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_has_a_form() {
    let database = Database::new().await;
    let store = PgStore::open(database.options()).await.expect("opens");
    let space = space(&store, Access::Migrate).await;
    let bounds = Bounds::default();
    for text in [
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TYPE pair AS (a INT, b TEXT)",
        "CREATE DOMAIN small AS INT CHECK (VALUE < 10)",
    ] {
        space
            .run(&Statement::new(text), &bounds)
            .await
            .expect("creates");
    }
    let text = |text: &str| Value::Text(text.to_owned());
    let numeric = |text: &str| Value::Numeric(text.to_owned());
    for (expression, kind, want) in [
        ("-5::smallint", "smallint", Value::Integer(-5)),
        ("0.1::real", "real", Value::Float(0.1)),
        (
            "'123456789012345678901234567890.0123456789'::numeric",
            "numeric",
            numeric("123456789012345678901234567890.0123456789"),
        ),
        ("'-0.00001234'::numeric", "numeric", numeric("-0.00001234")),
        (
            "'1000000000000'::numeric",
            "numeric",
            numeric("1000000000000"),
        ),
        ("'100.00'::numeric", "numeric", numeric("100.00")),
        ("0::numeric", "numeric", numeric("0")),
        ("'0.00'::numeric", "numeric", numeric("0.00")),
        (
            "'-infinity'::numeric",
            "numeric",
            Value::Float(f64::NEG_INFINITY),
        ),
        (
            "'2026-02-03 04:05:06.5+02'::timestamptz",
            "timestamptz",
            text("2026-02-03T02:05:06.5Z"),
        ),
        (
            "'2026-02-03 04:05:06'::timestamp",
            "timestamp",
            text("2026-02-03T04:05:06"),
        ),
        ("'infinity'::timestamptz", "timestamptz", text("infinity")),
        ("'0044-03-15 BC'::date", "date", text("0044-03-15 BC")),
        ("'04:05:06.007'::time", "time", text("04:05:06.007")),
        ("'04:05:06+02'::timetz", "timetz", text("04:05:06+02:00")),
        (
            "'1 year 2 mons 3 days -04:05:06'::interval",
            "interval",
            text("P1Y2M3DT-4H-5M-6S"),
        ),
        (
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
            "uuid",
            text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ),
        ("'10.0.0.1'::inet", "inet", text("10.0.0.1")),
        ("'10.0.0.0/8'::cidr", "cidr", text("10.0.0.0/8")),
        (
            "'08:00:2b:01:02:03'::macaddr",
            "macaddr",
            text("08:00:2b:01:02:03"),
        ),
        ("B'1010000001'", "bit", text("1010000001")),
        (
            "'{\"a\": [1]}'::jsonb",
            "jsonb",
            Value::Json(json!({"a": [1]})),
        ),
        ("'glad'::mood", "mood", text("glad")),
        ("5::small", "integer", Value::Integer(5)),
        ("'[1,5)'::int4range", "int4range", text("[1,5)")),
        ("ROW(1, 'x')::pair", "pair", text("(1,x)")),
        (
            "to_tsvector('simple', 'a b')",
            "tsvector",
            text("'a':1 'b':2"),
        ),
        ("point(1, 2)", "point", text("(1,2)")),
        (
            "ARRAY[[1, 2], [3, NULL]]",
            "integer[]",
            Value::Array(vec![
                Value::Array(vec![Value::Integer(1), Value::Integer(2)]),
                Value::Array(vec![Value::Integer(3), Value::Null]),
            ]),
        ),
        ("ARRAY[]::text[]", "text[]", Value::Array(Vec::new())),
        (
            "ARRAY['a\"b', 'NULL', NULL]",
            "text[]",
            Value::Array(vec![text("a\"b"), text("NULL"), Value::Null]),
        ),
    ] {
        let statement = Statement::new(format!("SELECT {expression} AS it; -- end"));
        let rows = space
            .run(&statement, &bounds)
            .await
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(
            (rows.columns[0].name.as_str(), rows.columns[0].kind.as_str()),
            ("it", kind),
            "{expression}"
        );
        assert_eq!(rows.rows[0][0], want, "{expression}");
        // What came out goes in again and is the same.
        let cast = expression.rsplit_once("::").map_or(kind, |(_, cast)| cast);
        if !matches!(kind, "bit" | "tsvector" | "point") {
            let again = Statement::with(
                format!("SELECT ?::{cast} IS NOT DISTINCT FROM {expression}"),
                [want],
            );
            let same = space
                .run(&again, &bounds)
                .await
                .unwrap_or_else(|error| panic!("{expression}: {error}"));
            assert_eq!(same.rows[0][0], Value::Bool(true), "{expression}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_table_makes_no_call_fail() {
    let database = Database::new().await;
    let store = PgStore::open(database.options()).await.expect("opens");
    let migrate = space(&store, Access::Migrate).await;
    let write = space(&store, Access::Write).await;
    let bounds = Bounds::default();
    migrate
        .run(&Statement::new("CREATE TABLE t (a INT)"), &bounds)
        .await
        .expect("creates");
    let all = Statement::new("SELECT * FROM t");
    assert_eq!(
        write
            .run(&all, &bounds)
            .await
            .expect("selects")
            .columns
            .len(),
        1
    );
    migrate
        .run(&Statement::new("ALTER TABLE t ADD COLUMN b INT"), &bounds)
        .await
        .expect("alters");
    assert_eq!(
        write
            .run(&all, &bounds)
            .await
            .expect("selects")
            .columns
            .len(),
        2
    );
    write
        .run(&Statement::new("DEALLOCATE ALL"), &bounds)
        .await
        .expect("is its own session");
    assert_eq!(
        write
            .run(&all, &bounds)
            .await
            .expect("selects")
            .columns
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_that_is_refused_is_not_repeated() {
    let database = Database::new().await;
    let store = PgStore::open(database.options()).await.expect("opens");
    let space = space(&store, Access::Migrate).await;
    let bounds = Bounds::default();
    let table = "CREATE TABLE t (id INT PRIMARY KEY, v TEXT UNIQUE, n NUMERIC(3) CHECK (n > 0))";
    space
        .run(&Statement::new(table), &bounds)
        .await
        .expect("creates");
    space
        .run(
            &Statement::new("INSERT INTO t VALUES (1, 'SECRET', 1)"),
            &bounds,
        )
        .await
        .expect("inserts");
    for (text, value) in [
        ("SELECT ?::int", "SECRET"),
        ("SELECT ?::timestamptz", "SECRET"),
        ("SELECT ?::jsonb", "{\"SECRET"),
        ("SELECT ?::uuid", "SECRET\"x"),
        ("INSERT INTO t VALUES (2, ?, 1)", "SECRET"),
        ("SELECT ?::int[]", "{SECRET}"),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'no \"%\"', 'SECRET'; END $$",
            "",
        ),
    ] {
        let params = (!value.is_empty()).then(|| Value::Text(value.to_owned()));
        let error = space
            .run(&Statement::with(text, params), &bounds)
            .await
            .expect_err("is refused");
        assert!(
            !format!("{error:?}").contains("SECRET"),
            "{text}: {error:?}"
        );
        assert!(
            matches!(
                error,
                StoreError::Sql { .. } | StoreError::Constraint { .. }
            ),
            "{error:?}"
        );
    }
}
