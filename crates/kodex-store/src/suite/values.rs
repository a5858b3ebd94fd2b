//! What goes in comes out, with the same SQL text on both engines.

use serde_json::json;

use super::{
    Case, cases,
    given::{Given, attempt, only, run, run_with},
};
use crate::{Access, Engine, Statement, StoreError, Value};

pub(super) const CASES: &[Case] = cases![
    values_come_back,
    decimals_keep_their_value,
    numbers_of_changes_are_told,
    names_and_positions_of_parameters,
    mistakes_are_found_before_the_engine,
    errors_point_into_the_text_and_hide_values,
    an_answer_without_rows_has_its_columns,
];

async fn values_come_back(given: Given) {
    let table = [
        ("BIGINT", Value::Integer(i64::MIN)),
        ("BIGINT", Value::Integer(i64::MAX)),
        ("BIGINT", Value::Integer(0)),
        ("BOOLEAN", Value::Bool(true)),
        ("BOOLEAN", Value::Bool(false)),
        ("DOUBLE PRECISION", Value::Float(0.1)),
        ("DOUBLE PRECISION", Value::Float(-1e300)),
        ("DOUBLE PRECISION", Value::Float(f64::INFINITY)),
        ("TEXT", Value::Text(String::new())),
        ("TEXT", Value::Text("é \u{1F600} ' \" \\ % \n".into())),
        ("TEXT", Value::Text("x".repeat(100_000))),
        ("TEXT", Value::Text("42".into())),
        ("BYTEA", Value::Bytes(Vec::new())),
        ("BYTEA", Value::Bytes((0..=255).collect())),
        ("JSONB", Value::Json(json!({"a": [1, null, {"b": "ü"}]}))),
        ("JSONB", Value::Json(json!([]))),
        ("JSONB", Value::Json(json!(5))),
        ("JSONB", Value::Json(json!("text"))),
        ("JSONB", Value::Json(json!(true))),
    ];
    let migrate = given.space(Access::Migrate).await;
    for (at, (kind, value)) in table.into_iter().enumerate() {
        run(
            &*migrate,
            &format!("CREATE TABLE t{at} (id BIGINT, v {kind})"),
        )
        .await;
        let space = given.space(Access::Write).await;
        for (id, value) in [(1, value.clone()), (2, Value::Null)] {
            let insert = format!("INSERT INTO t{at} (id, v) VALUES (?, ?)");
            run_with(&*space, &insert, [Value::Integer(id), value]).await;
        }
        let rows = run(&*space, &format!("SELECT v FROM t{at} ORDER BY id")).await;
        let found: Vec<_> = rows.rows.into_iter().flatten().collect();
        assert_eq!(found, [value.clone(), Value::Null], "{kind}");
        let equal = format!("SELECT count(*) FROM t{at} WHERE v = ?");
        if kind != "JSONB" {
            let n = run_with(&*space, &equal, [value]).await;
            assert_eq!(
                *only(&n),
                Value::Integer(1),
                "{kind}: it is found by its value"
            );
        }
    }
}

async fn decimals_keep_their_value(given: Given) {
    let space = given
        .with(&["CREATE TABLE t (id BIGINT, exact TEXT, n NUMERIC(40, 2))"])
        .await;
    let digits = "12345678901234567890123456789.25";
    run_with(
        &*space,
        "INSERT INTO t VALUES (1, ?, ?)",
        [Value::Text(digits.into()), Value::Numeric("12.50".into())],
    )
    .await;
    let rows = run(&*space, "SELECT exact, n FROM t").await;
    assert_eq!(rows.rows[0][0], Value::Text(digits.into()));
    match &rows.rows[0][1] {
        Value::Float(float) => assert!((float - 12.5).abs() < f64::EPSILON),
        Value::Numeric(text) => assert_eq!(text, "12.50"),
        other => panic!("a decimal came back as {other:?}"),
    }
    let more = run(&*space, "SELECT count(*) FROM t WHERE n > 12").await;
    assert_eq!(*only(&more), Value::Integer(1));
}

async fn numbers_of_changes_are_told(given: Given) {
    let space = given
        .with(&["CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)"])
        .await;
    for (text, n_changed, n_rows) in [
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')", 3, 0),
        ("UPDATE t SET v = 'x' WHERE id > 1", 2, 0),
        ("UPDATE t SET v = 'x' WHERE id > 9", 0, 0),
        ("SELECT * FROM t", 0, 3),
        (
            "INSERT INTO t VALUES (3, 'd') ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING v",
            1,
            1,
        ),
        ("DELETE FROM t WHERE id < 3 RETURNING id", 2, 2),
        ("SELECT * FROM t WHERE id = 0", 0, 0),
    ] {
        let rows = run(&*space, text).await;
        assert_eq!(rows.rows.len(), n_rows, "{text}");
        // Postgres counts the rows of a query too; what was changed is what is asked about.
        if !text.starts_with("SELECT") {
            assert_eq!(rows.n_changed, n_changed, "{text}");
        }
    }
}

async fn names_and_positions_of_parameters(given: Given) {
    let space = given.with(&["CREATE TABLE t (a TEXT, b TEXT)"]).await;
    let texts = |names: &[&str]| {
        names
            .iter()
            .map(|name| Value::Text((*name).into()))
            .collect::<Vec<_>>()
    };
    run_with(&*space, "INSERT INTO t VALUES (?2, ?1)", texts(&["b", "a"])).await;
    run_with(&*space, "INSERT INTO t VALUES ($1, $1)", texts(&["c"])).await;
    let named = Statement::named(
        "INSERT INTO t VALUES (:x, ':x'), (:y, :x)",
        [
            ("x", Value::Text("d".into())),
            ("y", Value::Text("e".into())),
        ],
    );
    attempt(&*space, named).await.expect("inserts");
    let rows = run(&*space, "SELECT a, b FROM t ORDER BY a").await;
    let rows: Vec<_> = rows
        .rows
        .iter()
        .map(|row| format!("{:?} {:?}", row[0], row[1]).replace("Text", ""))
        .collect();
    let want = [
        r#"("a") ("b")"#,
        r#"("c") ("c")"#,
        r#"("d") (":x")"#,
        r#"("e") ("d")"#,
    ];
    assert_eq!(rows, want);
}

async fn mistakes_are_found_before_the_engine(given: Given) {
    let space = given.space(Access::Write).await;
    for (text, n_params) in [
        ("", 0),
        ("-- nothing", 0),
        ("SELECT 1; SELECT 2", 0),
        ("SELECT ?", 0),
        ("SELECT 1", 1),
        ("SELECT :name", 1),
        ("SELECT 'open", 0),
    ] {
        let statement = Statement::with(text, (0..n_params).map(Value::Integer));
        let error = attempt(&*space, statement).await.expect_err("is a mistake");
        assert_eq!(error.code(), "db.statement", "{text}");
    }
}

async fn errors_point_into_the_text_and_hide_values(given: Given) {
    let space = given
        .with(&["CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT CHECK (length(v) < 5))"])
        .await;
    let text = "SELECT id, é FROM t WHERE id = :long_name AND oops = :long_name";
    let text = text.replace("é", "'é'");
    let named = Statement::named(&text, [("long_name", Value::Integer(1))]);
    let error = attempt(&*space, named).await.expect_err("no such column");
    let StoreError::Sql {
        position, message, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    let want = text[..text.find("oops").expect("stands there")]
        .chars()
        .count()
        + 1;
    assert_eq!(*position, Some(want), "{error}");
    assert!(message.contains("oops"), "{message}");
    let secret = || Value::Text("SECRET".into());
    run_with(&*space, "INSERT INTO t VALUES (1, 'a')", []).await;
    for (text, params) in [
        ("INSERT INTO t VALUES (2, ?)", vec![secret()]),
        (
            "INSERT INTO t VALUES (1, ?)",
            vec![Value::Text("SECRET2".into())],
        ),
        (
            "INSERT INTO t (id, v, nothing) VALUES (3, ?, 1)",
            vec![secret()],
        ),
    ] {
        let error = attempt(&*space, Statement::with(text, params))
            .await
            .expect_err("fails");
        let said = format!("{error} {error:?}");
        assert!(!said.contains("SECRET"), "{said}");
        assert!(said.contains(given.plugin.as_str()), "{said}");
    }
}

async fn an_answer_without_rows_has_its_columns(given: Given) {
    let space = given
        .with(&["CREATE TABLE t (id BIGINT, flag BOOLEAN, doc JSONB)"])
        .await;
    let rows = run(
        &*space,
        "SELECT id, flag AS f, doc, count(*) AS n FROM t GROUP BY 1, 2, 3",
    )
    .await;
    let names: Vec<_> = rows
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["id", "f", "doc", "n"]);
    assert!(rows.rows.is_empty());
    if given.is(Engine::Sqlite) {
        let kinds: Vec<_> = rows
            .columns
            .iter()
            .map(|column| column.kind.as_str())
            .collect();
        assert_eq!(kinds, ["bigint", "boolean", "jsonb", "any"]);
    }
    assert!(
        run(&*space, "INSERT INTO t VALUES (1, NULL, NULL)")
            .await
            .columns
            .is_empty()
    );
}
