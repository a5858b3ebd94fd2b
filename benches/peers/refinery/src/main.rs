//! Migrations with refinery, in process, in turns with Kodex.
//!
//! Each line asks for one turn, `{"engine": "sqlite" | "postgres", "place": FILE or URL, "files": FOLDER}`,
//! and is answered by `{"ms": TIME}`: reading the folder, comparing it with the table of applied
//! migrations, and applying what is missing, each migration in a transaction of its own. The connection
//! is made before.

use std::{
    error::Error,
    io::{BufRead, Write, stdin, stdout},
    path::Path,
    time::Instant,
};

use refinery::{Migrate, Runner, load_sql_migrations};
use serde_json::{Value, json};

fn turn(connection: &mut impl Migrate, files: &Path) -> Result<f64, Box<dyn Error>> {
    let started_at = Instant::now();
    let migrations = load_sql_migrations(files)?;
    Runner::new(&migrations).run(connection)?;
    Ok(started_at.elapsed().as_secs_f64() * 1e3)
}

fn answer(question: &Value) -> Result<f64, Box<dyn Error>> {
    let word = |key: &str| question[key].as_str().unwrap_or_default();
    let files = Path::new(word("files"));
    match word("engine") {
        "sqlite" => {
            let mut connection = rusqlite::Connection::open(word("place"))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            turn(&mut connection, files)
        }
        "postgres" => {
            let mut connection = postgres::Client::connect(word("place"), postgres::NoTls)?;
            turn(&mut connection, files)
        }
        engine => Err(format!("no engine is named {engine:?}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut output = stdout().lock();
    writeln!(output, "{}", json!({"refinery": "0.10.0"}))?;
    output.flush()?;
    for line in stdin().lock().lines() {
        let question = serde_json::from_str(&line?)?;
        writeln!(output, "{}", json!({"ms": answer(&question)?}))?;
        output.flush()?;
    }
    Ok(())
}
