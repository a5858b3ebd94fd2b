//! Rows of jobs that no Kodex wrote.

use super::{row, tables::COLUMNS};
use crate::{
    Finding,
    postgres::pool::{Arg, Line, Trouble},
    queue::{N_TOGETHER, problem},
};

const STRAYS: &str = "
    SELECT count(*) FROM (SELECT job_id FROM kodex.job_lines UNION ALL SELECT job_id FROM kodex.job_logs
                          UNION ALL SELECT job_id FROM kodex.job_effects) s
    WHERE NOT EXISTS (SELECT 1 FROM kodex.jobs j WHERE j.id = s.job_id)";

/// What is wrong with jobs; at most `limit` of one kind.
pub(in crate::postgres) async fn check(
    line: &mut Line,
    limit: usize,
) -> Result<Vec<Finding>, Trouble> {
    let mut findings = jobs(line, limit).await?;
    let rows = line.rows(STRAYS, &[]).await?;
    let n_strays: i64 = rows.first().map_or(0, |row| row.get(0));
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

/// Looks at all rows in pages.
async fn jobs(line: &mut Line, limit: usize) -> Result<Vec<Finding>, Trouble> {
    let page = format!(
        "SELECT {COLUMNS} FROM kodex.jobs j WHERE $1::text IS NULL OR j.id > $1 ORDER BY j.id LIMIT $2"
    );
    let mut findings = Vec::new();
    let mut after: Option<String> = None;
    while findings.len() < limit {
        let args = [
            Arg::MaybeText(after.as_deref()),
            Arg::Number(row::count(N_TOGETHER)),
        ];
        let rows = line.rows(&page, &args).await?;
        for row in &rows {
            let (plugin, problem) = match row::job(row) {
                Err(malformed) => (None, malformed.reason()),
                Ok(job) => match problem(&job) {
                    Some(problem) => (Some(job.plugin), problem.to_owned()),
                    None => continue,
                },
            };
            let id: &str = row.get(0);
            findings.push(Finding {
                code: "store.job",
                plugin,
                message: format!("job {id:?}: {problem}; prune it or restore a backup"),
            });
        }
        match rows.last() {
            Some(row) if rows.len() == N_TOGETHER => after = Some(row.get(0)),
            _ => break,
        }
    }
    findings.truncate(limit);
    Ok(findings)
}
