use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex_plugin::{
    Call, Context, Define, HostError, Json, Manifest, Plugin, PluginError, Reply, Request, Tool,
    db::Db,
};
use serde_json::{Value, json};

use crate::{CALL_LIMIT, FakeHost, activate, block_on, call_tool};

type Files = &'static [(&'static str, &'static str)];

const FILES: Files = &[
    (
        "0001_notes.sql",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);",
    ),
    (
        "0002_words.sql",
        "ALTER TABLE notes ADD COLUMN words INTEGER;",
    ),
    ("0003_count.sql", "-- kodex: code\n"),
];

/// Keeps notes and counts their words, one note of a data step at a time.
struct Notes {
    declared: Arc<dyn Plugin>,
    files: Files,
    context: Mutex<Option<Context>>,
    /// A word at which the data step fails, as a crash would end it.
    stops_at: &'static str,
    n_stopped: Mutex<usize>,
}

impl Notes {
    fn new(files: Files) -> Self {
        let tool = Tool::new("add", "Keeps some notes, all or none.").expect("a name");
        let declared = Define::new("notes", "0.1.0", "Keeps notes.")
            .tool(tool, |_| Ok(Json::null()))
            .database(files);
        Self {
            declared: declared.build().expect("a name"),
            files,
            context: Mutex::default(),
            stops_at: "",
            n_stopped: Mutex::default(),
        }
    }

    async fn add(&self, input: &Json) -> Result<Reply, PluginError> {
        let db = Db::of(&self.context());
        let texts: Vec<String> = input.to().expect("texts");
        let tx = db.begin().await.map_err(told)?;
        for text in texts {
            let row = json!([text]);
            tx.execute("INSERT INTO notes (text) VALUES (?)", row)
                .await
                .map_err(told)?;
        }
        tx.commit().await.map_err(told)?;
        Ok(Reply::nothing())
    }

    async fn count(&self, request: Request<'_>) -> Result<Reply, PluginError> {
        let context = self.context();
        let db = Db::of(&context);
        let mut last = request.payload.value()["progress"].as_i64().unwrap_or(0);
        let mut n_counted = 0;
        let next = "SELECT id, text FROM notes WHERE id > ? ORDER BY id LIMIT 1";
        while let Some((id, text)) = one(&db, next, json!([last])).await? {
            if text == self.stops_at {
                return Err(PluginError::raised("stopped"));
            }
            let words = text.split_whitespace().count();
            db.execute(
                "UPDATE notes SET words = ? WHERE id = ?",
                json!([words, id]),
            )
            .await
            .map_err(told)?;
            (last, n_counted) = (id, n_counted + 1);
            let progress = json!({"progress": last});
            let asked = context.host.request("step/progress", progress.into());
            asked.await.map_err(told)?;
        }
        let secret = context.host.request("secret/read", Json::object()).await;
        assert_eq!(secret.expect_err("not here").code, "step.service");
        Ok(Reply::from(
            json!({"scanned": n_counted, "migrated": n_counted}),
        ))
    }

    fn context(&self) -> Context {
        let context = self.context.lock().expect("no panic");
        context.clone().expect("it is active")
    }
}

async fn one(db: &Db, sql: &str, params: Value) -> Result<Option<(i64, String)>, PluginError> {
    let rows = db.query(sql, params).await.map_err(told)?;
    let row = rows.raw().rows.first();
    Ok(row.map(|row| (row[0].to().expect("an id"), row[1].to().expect("a text"))))
}

fn told(error: HostError) -> PluginError {
    PluginError::raised(format!("{}: {}", error.code, error.message))
}

impl Plugin for Notes {
    fn manifest(&self) -> &Manifest {
        self.declared.manifest()
    }

    fn migrations(&self) -> Files {
        self.files
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        *self.context.lock().expect("no panic") = Some(context);
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        match request.name {
            "add" => Call::pending(self.add(request.payload)),
            "0003_count" => Call::pending(self.count(request)),
            _ => Call::Ready(Ok(Reply::nothing())),
        }
    }

    fn deactivate(&self) -> Call<'_, ()> {
        *self.context.lock().expect("no panic") = None;
        *self.n_stopped.lock().expect("no panic") += 1;
        Call::Ready(Ok(()))
    }
}

fn ready(files: Files) -> (FakeHost, Notes) {
    let (host, notes) = (FakeHost::new(), Notes::new(files));
    host.upgrade(&notes).expect("it applies");
    let name = notes.manifest().name.clone();
    activate(&notes, host.context(name, Json::object())).expect("it starts");
    (host, notes)
}

fn now<T>(work: impl Future<Output = Result<T, HostError>>) -> Result<T, String> {
    let answer = block_on(work, CALL_LIMIT).expect("it is answered");
    answer.map_err(|error| error.code)
}

fn rows(host: &FakeHost, sql: &str) -> Value {
    let rows = host.sql(sql, json!([])).expect("it runs");
    let values = |row: &Vec<Json>| row.iter().map(|value| value.value().clone()).collect();
    rows.raw()
        .rows
        .iter()
        .map(values)
        .collect::<Vec<Value>>()
        .into()
}

#[test]
fn a_plugin_keeps_its_tables() {
    let (host, notes) = ready(FILES);
    call_tool(&notes, "add", json!(["milk", "eggs"])).expect("it adds");
    let refused = call_tool(&notes, "add", json!(["bread", "milk"])).expect_err("milk is there");
    assert!(refused.message.starts_with("db.constraint: "), "{refused}");
    assert_eq!(
        rows(&host, "SELECT text FROM notes ORDER BY id"),
        json!([["milk"], ["eggs"]])
    );
    let methods: Vec<_> = host.asked().into_iter().map(|asked| asked.method).collect();
    assert_eq!(
        methods[methods.len() - 3..],
        ["db/begin", "db/query", "db/query"]
    );
}

#[test]
fn errors_have_the_codes_of_a_host() {
    let (host, _) = ready(FILES);
    host.sql("INSERT INTO notes (text) VALUES ('a'), ('b')", json!([]))
        .expect("it runs");
    let db = Db::new(Arc::new(host));
    let check = |sql: &str, params: Value, want: Result<u64, &str>| {
        assert_eq!(
            now(db.execute(sql, params)),
            want.map_err(str::to_owned),
            "{sql}"
        );
    };
    check(
        "DELETE FROM notes WHERE text = :t",
        json!({"t": "b"}),
        Ok(1),
    );
    check("SELEC 1", json!([]), Err("db.sql"));
    check("SELECT ?", json!([1, 2]), Err("db.statement"));
    check("DROP TABLE notes", json!([]), Err("db.refused"));
    check("SELECT * FROM kodex_journal", json!([]), Err("db.refused"));
    check("ATTACH 'other.db' AS other", json!([]), Err("db.refused"));
    check(
        "INSERT INTO notes (text) VALUES (NULL)",
        json!([]),
        Err("db.constraint"),
    );
    let two = "SELECT 1 AS n UNION ALL SELECT 2";
    assert_eq!(
        now(db.query_one::<Value>(two, json!([]))),
        Err("db.too_many_rows".to_owned())
    );
}

#[test]
fn pages_savepoints_and_leases() {
    let (host, _) = ready(FILES);
    let db = Db::new(Arc::new(host.clone()));
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5)
                INSERT INTO notes (text) SELECT 'note ' || n FROM n";
    assert_eq!(now(db.execute(many, json!([]))), Ok(5));
    let read = async {
        let mut pages = db.pages("SELECT text FROM notes", json!([]), 2).await?;
        let mut n_rows = Vec::new();
        while let Some(page) = pages.next().await? {
            n_rows.push(page.len());
        }
        Ok(n_rows)
    };
    assert_eq!(now(read), Ok(vec![2, 2, 1, 0]));

    let tx = now(db.begin()).expect("it begins");
    assert_eq!(
        now(tx.execute("DELETE FROM notes WHERE id = 1", json!([]))),
        Ok(1)
    );
    now(tx.save()).expect("it saves");
    assert_eq!(now(tx.execute("DELETE FROM notes", json!([]))), Ok(4));
    now(tx.undo()).expect("it undoes");
    now(tx.commit()).expect("it commits");
    assert_eq!(rows(&host, "SELECT count(*) FROM notes"), json!([[4]]));

    // Dropped, a transaction is rolled back and makes room for the next one.
    let tx = now(db.begin()).expect("it begins");
    assert_eq!(now(tx.execute("DELETE FROM notes", json!([]))), Ok(4));
    drop(tx);
    let tx = now(db.begin()).expect("it begins");
    assert_eq!(now(tx.execute("DELETE FROM notes", json!([]))), Ok(4));
    host.clock().advance(Duration::from_secs(6));
    assert_eq!(now(tx.commit()), Err("db.transaction".to_owned()));
    assert_eq!(rows(&host, "SELECT count(*) FROM notes"), json!([[4]]));
    let tx = now(db.begin()).expect("it begins");
    host.clock().advance(Duration::from_secs(6));
    let late = now(tx.execute("DELETE FROM notes", json!([])));
    assert_eq!(late, Err("db.transaction".to_owned()));
    assert_eq!(rows(&host, "SELECT count(*) FROM notes"), json!([[4]]));
}

#[test]
fn a_data_step_goes_on_where_it_was_stopped() {
    let host = FakeHost::new();
    let mut notes = Notes::new(FILES);
    notes.stops_at = "two words";
    let applied = host.upgrade_to(&notes, "0002_words.sql").expect("applies");
    assert_eq!(applied.len(), 2);
    host.sql(
        "INSERT INTO notes (text) VALUES ('one'), ('two words'), ('now three words')",
        json!([]),
    )
    .expect("it runs");
    let error = host.upgrade(&notes).expect_err("it stops");
    assert_eq!(error.code, "plugin.raised");
    assert_eq!(error.message, "plugin:notes/0003_count.sql failed: stopped");
    notes.stops_at = "";
    let applied = host.upgrade(&notes).expect("it goes on");
    assert_eq!(
        (applied.len(), applied[0].counts.scanned),
        (1, 2),
        "the first note is not counted again: {applied:?}"
    );
    assert_eq!(
        rows(&host, "SELECT words FROM notes ORDER BY id"),
        json!([[1], [2], [3]])
    );
    assert_eq!(host.upgrade(&notes), Ok(vec![]));
    assert_eq!(*notes.n_stopped.lock().expect("no panic"), 2);
}

#[test]
fn a_journal_is_checked_before_anything_is_applied() {
    let check = |files: Files, code: &str, part: &str| {
        let host = FakeHost::new();
        let error = host.upgrade(&Notes::new(files)).expect_err("refused");
        assert_eq!(error.code, code);
        assert!(error.message.contains(part), "{error}");
    };
    let good = ("0001_a.sql", "CREATE TABLE a (a INTEGER);");
    let list = |files: Vec<(&'static str, &'static str)>| -> Files { files.leak() };
    check(
        list(vec![good, ("2_b.sql", "SELECT 1;")]),
        "journal.name",
        "2_b.sql",
    );
    check(
        list(vec![good, ("0001_b.sql", "SELECT 1;")]),
        "journal.duplicate_number",
        "0001_b",
    );
    check(
        list(vec![good, ("0002_b.sql", "-- nothing")]),
        "journal.blank",
        "0002_b.sql",
    );
    check(
        list(vec![good, ("0002_b.sql", "CREATE TABLE a (b INTEGER);")]),
        "db.sql",
        "plugin:notes/0002_b.sql failed: ",
    );
    let host = FakeHost::new();
    host.upgrade(&Notes::new(list(vec![good])))
        .expect("applies");
    let changed = Notes::new(list(vec![("0001_a.sql", "CREATE TABLE a (b INTEGER);")]));
    assert_eq!(
        host.upgrade(&changed).expect_err("changed").code,
        "journal.changed"
    );
    let missing = host.upgrade_to(&Notes::new(list(vec![good])), "0001_a.sql");
    assert_eq!(
        missing.expect_err("applied already").code,
        "upgrade.baseline"
    );
}

#[test]
fn one_host_is_for_one_plugin() {
    let (host, _) = ready(FILES);
    let other = Define::new("other", "0.1.0", "Other.").database(FILES);
    let other = other.build().expect("a name");
    assert_eq!(
        host.upgrade(&*other).expect_err("another").code,
        "db.refused"
    );
    let fresh = FakeHost::new();
    let db = Db::new(Arc::new(fresh.clone()));
    assert_eq!(
        now(db.execute("SELECT 1", json!([]))),
        Err("journal.behind".to_owned())
    );
    assert_eq!(
        fresh.sql("SELECT 1", json!([])).expect_err("none").code,
        "journal.behind"
    );
    fresh.answer("db/query", json!({"columns": [], "rows": [], "changed": 7}));
    assert_eq!(now(db.execute("SELECT 1", json!([]))), Ok(7));
}

#[test]
fn the_folder_goes_away_with_the_last_host() {
    let (host, notes) = ready(FILES);
    let folder = host.database.get().expect("made").folder().to_owned();
    let other = host.clone();
    drop((host, notes));
    assert!(folder.join("store/plugins/notes.db").exists());
    drop(other);
    assert!(!folder.exists());
}

#[tokio::test]
async fn it_also_works_inside_of_an_async_test() {
    let (host, notes) = ready(FILES);
    notes.add(&json!(["milk"]).into()).await.expect("it adds");
    assert_eq!(rows(&host, "SELECT text FROM notes"), json!([["milk"]]));
}
