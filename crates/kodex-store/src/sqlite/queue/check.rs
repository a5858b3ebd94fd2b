//! Rows of jobs that no Kodex wrote.

use rusqlite::Connection;

use super::{
    row::{COLUMNS, read},
    tables,
};
use crate::{Finding, StoreError, queue::problem, sqlite::open::Conn};

const STRAYS: &str = "SELECT count(*) FROM (
    SELECT job FROM job_lines UNION ALL SELECT job FROM job_logs UNION ALL SELECT job FROM job_effects
    ) WHERE job NOT IN (SELECT seq FROM jobs)";

/// What is wrong with the jobs of a file; at most `limit` of one kind.
pub(in super::super) fn check(conn: &Conn, limit: usize) -> Result<Vec<Finding>, StoreError> {
    if !tables::are_there(conn)? {
        return Ok(Vec::new());
    }
    let mut findings = conn.own(|db| jobs(db, limit))?;
    let n_strays: i64 = conn.own(|db| db.query_row(STRAYS, [], |row| row.get(0)))?;
    if n_strays > 0 {
        findings.push(Finding {
            code: "store.job",
            plugin: None,
            message: format!(
                "{n_strays} lines or effects belong to jobs that are not there; restore a backup"
            ),
        });
    }
    Ok(findings)
}

fn jobs(db: &Connection, limit: usize) -> rusqlite::Result<Vec<Finding>> {
    let mut statement = db.prepare(&format!("SELECT {COLUMNS} FROM jobs"))?;
    let mut rows = statement.query([])?;
    let mut findings = Vec::new();
    while findings.len() < limit
        && let Some(row) = rows.next()?
    {
        let (plugin, problem) = match read(row) {
            Err(malformed) => (None, format!("its {} cannot be read", malformed.0)),
            Ok(job) => match problem(&job) {
                Some(problem) => (Some(job.plugin), problem.to_owned()),
                None => continue,
            },
        };
        let id = row
            .get::<_, String>(1)
            .unwrap_or_else(|_| "without a legible id".to_owned());
        findings.push(Finding {
            code: "store.job",
            plugin,
            message: format!("job {id:?}: {problem}; prune it or restore a backup"),
        });
    }
    Ok(findings)
}
