//! What a plugin tries in order to get out of its roles.

use std::{sync::Arc, time::Duration};

use kodex_plugin::PluginName;
use kodex_store::{
    Access, Bounds, Namespace, Statement, Step, Store, StoreError, Value,
    journal::{StepKind, checksum},
    postgres::PgStore,
};

use kodex_store::suite::database::{Database, connect, name};

const ALL: [Access; 3] = [Access::Read, Access::Write, Access::Migrate];

struct Stage {
    store: PgStore,
    plugin: PluginName,
    database: Database,
}

/// Two plugins, of which the other one has something to hide.
async fn stage() -> Stage {
    let database = Database::new().await;
    let store = PgStore::open(database.options()).await.expect("opens");
    let plugin = name("mine");
    for (plugin, table) in [(&plugin, "notes"), (&name("other"), "secrets")] {
        let space = store
            .namespace(plugin, Access::Migrate)
            .await
            .expect("opens");
        run(&*space, &format!("CREATE TABLE {table} (text TEXT)")).await;
        run(&*space, &format!("INSERT INTO {table} VALUES ('a')")).await;
    }
    Stage {
        store,
        plugin,
        database,
    }
}

impl Stage {
    async fn space(&self, access: Access) -> Arc<dyn Namespace> {
        self.store
            .namespace(&self.plugin, access)
            .await
            .expect("opens")
    }

    async fn role(&self, suffix: &str) -> String {
        let admin = connect(&self.database.admin).await;
        let row = admin
            .query_one(
                "SELECT roles || $1 FROM kodex.plugins WHERE plugin = 'other'",
                &[&suffix],
            )
            .await
            .expect("finds the role");
        row.get(0)
    }
}

async fn run(space: &dyn Namespace, text: &str) {
    if let Err(error) = space.run(&Statement::new(text), &Bounds::default()).await {
        panic!("{text}: {error}");
    }
}

async fn only(space: &dyn Namespace, text: &str) -> Value {
    let rows = space.run(&Statement::new(text), &Bounds::default()).await;
    rows.unwrap_or_else(|error| panic!("{text}: {error}"))
        .rows
        .remove(0)
        .remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_leaves_its_roles() {
    let stage = stage().await;
    let host = stage.database.name().to_owned();
    let other = stage.role("_w").await;
    let step = stage.role("_s").await;
    for text in [
        format!("SET ROLE {host}"),
        format!("SET SESSION AUTHORIZATION {host}"),
        format!("SELECT set_config('role', '{host}', false)"),
        format!("SELECT set_config('session_authorization', '{host}', false)"),
        format!("SET ROLE {other}"),
        format!("SET ROLE {step}"),
        format!("DO $$ BEGIN EXECUTE 'SET ROLE {host}'; END $$"),
        format!("GRANT {host} TO CURRENT_USER"),
        format!("ALTER ROLE {host} PASSWORD 'x'"),
        format!("ALTER ROLE {other} PASSWORD 'x'"),
        "ALTER ROLE CURRENT_USER SUPERUSER".to_owned(),
        "ALTER ROLE CURRENT_USER CREATEROLE".to_owned(),
        "CREATE ROLE mine".to_owned(),
        "CREATE SCHEMA mine".to_owned(),
        "CREATE DATABASE mine".to_owned(),
        "CREATE TABLE public.mine (a INT)".to_owned(),
        "CREATE TABLE kodex.mine (a INT)".to_owned(),
        "CREATE TEMPORARY TABLE mine AS SELECT generate_series(1, 1000000) AS a".to_owned(),
        "SELECT * FROM kodex.meta".to_owned(),
        "SELECT * FROM kodex.state".to_owned(),
        "DELETE FROM kodex.plugins".to_owned(),
        "SELECT * FROM kodex_p_other.secrets".to_owned(),
        "INSERT INTO kodex_p_other.secrets VALUES ('b')".to_owned(),
        "SELECT * FROM kodex_p_other.kodex_journal".to_owned(),
        "DROP SCHEMA kodex_p_other CASCADE".to_owned(),
        "ALTER SCHEMA kodex_p_mine RENAME TO kodex_p_third".to_owned(),
        "SELECT * FROM pg_authid".to_owned(),
        "SELECT * FROM pg_shadow".to_owned(),
        "COPY (SELECT 1) TO PROGRAM 'true'".to_owned(),
        "COPY (SELECT 1) TO '/tmp/kodex-stolen'".to_owned(),
        "COPY (SELECT 1) TO STDOUT".to_owned(),
        "COPY notes FROM STDIN".to_owned(),
        "SELECT pg_read_file('/etc/passwd')".to_owned(),
        "SELECT pg_ls_dir('/')".to_owned(),
        "SELECT lo_import('/etc/passwd')".to_owned(),
        "SELECT lo_export(1, '/tmp/kodex-stolen')".to_owned(),
        "CREATE EXTENSION dblink".to_owned(),
        "SELECT dblink_connect('host=127.0.0.1')".to_owned(),
        "CREATE FUNCTION steal() RETURNS int LANGUAGE c AS '/lib/x.so', 'x'".to_owned(),
        "CREATE LANGUAGE plpython3u".to_owned(),
        "ALTER SYSTEM SET fsync = off".to_owned(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user"
            .to_owned(),
        "LOAD 'x'".to_owned(),
        "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION x()".to_owned(),
    ] {
        for access in ALL {
            let space = stage.space(access).await;
            let done = space.run(&Statement::new(&text), &Bounds::default()).await;
            let code = done.as_ref().map_or_else(StoreError::code, |_| "ok");
            let kept = ["db.refused", "db.sql", "db.statement"].contains(&code);
            assert!(kept, "{access:?}: {text}: {code} {done:?}");
        }
    }
    assert_eq!(
        only(&*stage.space(Access::Read).await, "SELECT text FROM notes").await,
        Value::Text("a".into())
    );
    assert_eq!(stage.store.check().await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_search_path_leads_nowhere_and_ends_with_the_call() {
    let stage = stage().await;
    for access in ALL {
        let space = stage.space(access).await;
        let mut transaction = space.begin(&Bounds::default()).await.expect("begins");
        let path = Statement::new("SET search_path = kodex_p_other, kodex");
        transaction
            .run(&path, &Bounds::default())
            .await
            .expect("is its own session");
        let steal = transaction
            .run(&Statement::new("SELECT * FROM secrets"), &Bounds::default())
            .await;
        assert!(steal.is_err(), "{access:?}");
        transaction.rollback().await.expect("rolls back");
        for setting in ["search_path", "statement_timeout", "datestyle"] {
            let before = only(&*space, &format!("SELECT current_setting('{setting}')")).await;
            let value = if setting == "statement_timeout" {
                "7"
            } else {
                "iso"
            };
            run(
                &*space,
                &format!("SELECT set_config('{setting}', '{value}', false)"),
            )
            .await;
            let after = only(&*space, &format!("SELECT current_setting('{setting}')")).await;
            assert_eq!(before, after, "{access:?}: {setting}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_cannot_be_talked_into_writing() {
    let stage = stage().await;
    let space = stage.space(Access::Read).await;
    for flip in [
        "SET TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SET default_transaction_read_only = off",
    ] {
        let mut transaction = space.begin(&Bounds::default()).await.expect("begins");
        let _ = transaction
            .run(&Statement::new(flip), &Bounds::default())
            .await;
        let insert = Statement::new("INSERT INTO notes VALUES ('b')");
        let done = transaction.run(&insert, &Bounds::default()).await;
        assert_eq!(done.expect_err("only reads").code(), "db.refused", "{flip}");
    }
    assert_eq!(
        only(&*space, "SELECT count(*) FROM notes").await,
        Value::Integer(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_that_the_plugin_took_away_holds_all_the_same() {
    let stage = stage().await;
    let admin = connect(&stage.database.admin).await;
    let space = stage.space(Access::Write).await;
    let bounds = Bounds {
        timeout: Duration::from_millis(200),
        ..Bounds::default()
    };
    let sleep = Statement::new("SELECT set_config('statement_timeout', '0', false), pg_sleep(600)");
    let error = space.run(&sleep, &bounds).await.expect_err("is stopped");
    assert_eq!(error.code(), "db.timeout");
    let dropped = tokio::time::timeout(
        Duration::from_millis(200),
        space.run(&sleep, &Bounds::default()),
    )
    .await;
    assert!(dropped.is_err());
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
    let gone = async {
        while admin
            .query_one(asleep, &[])
            .await
            .expect("asks")
            .get::<_, i64>(0)
            > 0
        {}
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("nothing sleeps in the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_cannot_become_the_role_that_writes_the_ledger() {
    let stage = stage().await;
    let forge =
        "INSERT INTO kodex_journal VALUES (9, 'plugin:mine/0009_x.sql', repeat('0', 64), 1)";
    for text in [
        forge.to_owned(),
        format!("RESET ROLE; {forge}"),
        format!("SET ROLE NONE; {forge}"),
        format!("SELECT set_config('role', 'none', true); {forge}"),
        "SELECT * FROM kodex.meta".to_owned(),
    ] {
        let step = step("0001_a.sql", &text);
        let error = stage
            .store
            .ledger()
            .apply(&stage.plugin, &step, None)
            .await
            .expect_err("is refused");
        assert_eq!(error.code(), "db.refused", "{text}: {error}");
        assert_eq!(
            stage.store.ledger().applied(&stage.plugin).await,
            Ok(Vec::new())
        );
    }
    let wrong = step(
        "0001_a.sql",
        "CREATE TABLE a (id INT);\nSELECT oops FROM a;",
    );
    let error = stage
        .store
        .ledger()
        .apply(&stage.plugin, &wrong, None)
        .await
        .expect_err("fails");
    let want = wrong.text.find("oops").map(|at| at + 1);
    assert!(
        matches!(&error, StoreError::Sql { position, .. } if *position == want),
        "{error:?}"
    );
}

fn step(file: &str, text: &str) -> Step {
    Step {
        number: 1,
        file: file.to_owned(),
        kind: StepKind::Sql,
        text: text.to_owned(),
        checksum: checksum(text.as_bytes()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_changes_its_password_is_repaired() {
    let stage = stage().await;
    let space = stage.space(Access::Write).await;
    run(&*space, "ALTER ROLE CURRENT_USER PASSWORD 'mine'").await;
    stage.store.close().await.expect("closes");
    let store = PgStore::open(stage.database.options())
        .await
        .expect("opens");
    let space = store
        .namespace(&stage.plugin, Access::Write)
        .await
        .expect("opens");
    assert_eq!(
        only(&*space, "SELECT count(*) FROM notes").await,
        Value::Integer(1)
    );
}
