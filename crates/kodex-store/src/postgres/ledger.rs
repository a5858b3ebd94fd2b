//! The ledgers of applied steps: two tables in each plugin's schema that belong to the store's own role.
//!
//! A step's row is written first and its SQL runs behind it in the same transaction, so that of two
//! upgrades at once the second waits for the first and then finds that the ledger moved. The SQL runs
//! inside a block, where the server refuses every statement that would end the transaction.

use std::sync::Arc;

use kodex_plugin::PluginName;
use tokio_postgres::{error::ErrorPosition, types::Type};

use super::{
    Inner, Stay,
    answer::Ahead,
    error,
    open::Tries,
    pool::{Arg, Line, Trouble},
    rename,
    roles::{Home, Part, quoted},
    transaction::commit,
};
use crate::{
    Applied, Ledger, Step, StoreError, Work,
    journal::{Progress, StepKind},
};

/// The time, where the store has no clock of its own.
const NOW: &str = "coalesce($4::bigint, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)";

/// The ledgers of all plugins.
pub(super) struct PgLedger {
    inner: Arc<Inner>,
}

impl PgLedger {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    async fn rows(&self, plugin: &PluginName) -> Result<Vec<Applied>, StoreError> {
        let Some(home) = self.inner.find(plugin).await? else {
            return Ok(Vec::new());
        };
        let mut line = self.inner.line().await?;
        let sql = format!(
            "SELECT id, checksum, applied_at_ms FROM {}.kodex_journal ORDER BY id COLLATE \"C\"",
            quoted(&home.schema)
        );
        let rows = line
            .rows(&sql, &[])
            .await
            .map_err(|trouble| self.inner.own(trouble, "reading a ledger"))?;
        let read = |row: &tokio_postgres::Row| judge(plugin, row.get(0), row.get(1), row.get(2));
        rows.iter().map(read).collect()
    }

    /// Writes a step's row if the ledger stands where it should; none if it does not.
    async fn enter(
        &self,
        line: &mut Line,
        home: &Home,
        plugin: &PluginName,
        step: &Step,
        after: Option<&str>,
    ) -> Result<Option<Applied>, Trouble> {
        let table = format!("{}.kodex_journal", quoted(&home.schema));
        let sql = format!(
            "INSERT INTO {table} (ordinal, id, checksum, applied_at_ms)
             SELECT coalesce(max(ordinal), 0) + 1, $1::text, $2::text, {NOW} FROM {table}
             HAVING max(id COLLATE \"C\") IS NOT DISTINCT FROM $3::text
             RETURNING applied_at_ms"
        );
        let id = step.id(plugin);
        let args = [
            Arg::Text(&id),
            Arg::Text(&step.checksum),
            Arg::MaybeText(after),
            Arg::MaybeNumber(self.inner.now_ms()),
        ];
        let rows = line.rows(&sql, &args).await?;
        Ok(rows.first().map(|row| Applied {
            id: id.clone(),
            checksum: step.checksum.clone(),
            applied_at_ms: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
        }))
    }

    async fn apply_in_one(
        &self,
        plugin: &PluginName,
        home: &Home,
        step: &Step,
        after: Option<&str>,
    ) -> Result<Applied, StoreError> {
        let mut line = self
            .inner
            .plugin_line(plugin, home, Part::Step, Stay::Long, None)
            .await?;
        line.in_flight = true;
        line.open = true;
        let begun = Ahead::Begin.send(&line).await;
        begun.map_err(|error| error::plugin(plugin, &error, None))?;
        let applied = match self.enter(&mut line, home, plugin, step, after).await {
            Ok(Some(applied)) => applied,
            Ok(None) => return Err(moved(plugin, step)),
            Err(trouble) if trouble.code() == "23505" => return Err(moved(plugin, step)),
            Err(trouble) => return Err(self.inner.own(trouble, "writing a ledger")),
        };
        // No timer: a step takes as long as its tables are large. Dropping this future cancels it.
        match (self.inner.server.has_blocks, home.role(Part::Owner)) {
            (true, Some(owner)) => boxed(&mut line, plugin, step, home, &owner).await?,
            (true, None) => batch(&mut line, plugin, step, &block(&step.text)).await?,
            (false, owner) => {
                unblocked(&mut line, plugin, step, owner.as_deref(), &self.inner).await?
            }
        }
        commit(&mut line, plugin).await?;
        Ok(applied)
    }

    async fn apply_bare(
        &self,
        plugin: &PluginName,
        home: &Home,
        step: &Step,
        after: Option<&str>,
    ) -> Result<Applied, StoreError> {
        let rows = self.rows(plugin).await?;
        if rows.last().map(|row| row.id.as_str()) != after {
            return Err(moved(plugin, step));
        }
        let mut line = self
            .inner
            .plugin_line(plugin, home, Part::Owner, Stay::Long, None)
            .await?;
        line.in_flight = true;
        line.clean()
            .await
            .map_err(|error| error::plugin(plugin, &error, None))?;
        batch(&mut line, plugin, step, &step.text).await?;
        drop(line);
        self.enter_own(plugin, step, after).await
    }

    /// Writes a step's row on a connection of the store's own and removes its progress.
    async fn enter_own(
        &self,
        plugin: &PluginName,
        step: &Step,
        after: Option<&str>,
    ) -> Result<Applied, StoreError> {
        let home = self.inner.home(plugin).await?;
        let id = step.id(plugin);
        let forget = format!(
            "DELETE FROM {}.kodex_progress WHERE id = $1",
            quoted(&home.schema)
        );
        let mut tries = Tries::default();
        loop {
            let mut line = self.inner.line().await?;
            let entered = async {
                line.begin().await?;
                let applied = self.enter(&mut line, &home, plugin, step, after).await?;
                line.rows(&forget, &[Arg::Text(&id)]).await?;
                line.commit().await?;
                Ok(applied)
            };
            let entered = entered.await;
            drop(line);
            match entered {
                Ok(applied) => return applied.ok_or_else(|| moved(plugin, step)),
                Err(trouble) => {
                    tries
                        .again(trouble, self.inner.place(), "writing a ledger")
                        .await?
                }
            }
        }
    }
}

fn moved(plugin: &PluginName, step: &Step) -> StoreError {
    StoreError::LedgerMoved {
        plugin: plugin.clone(),
        id: step.id(plugin),
    }
}

/// A row as Kodex writes it.
fn judge(
    plugin: &PluginName,
    id: String,
    checksum: String,
    applied_at_ms: i64,
) -> Result<Applied, StoreError> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let file = id
        .strip_prefix("plugin:")
        .and_then(|rest| rest.strip_prefix(plugin.as_str()));
    let file = file.and_then(|file| file.strip_prefix('/'));
    let problem = if file.is_none_or(str::is_empty) {
        "the id does not begin with the plugin's name"
    } else if checksum.len() != 64 || !checksum.bytes().all(is_hex) {
        "the checksum is not 64 hexadecimal digits"
    } else if applied_at_ms < 0 {
        "the time is before 1970"
    } else {
        let applied_at_ms = applied_at_ms.unsigned_abs();
        return Ok(Applied {
            id,
            checksum,
            applied_at_ms,
        });
    };
    Err(StoreError::LedgerMalformed {
        plugin: plugin.clone(),
        id,
        problem: problem.to_owned(),
    })
}

/// A block that runs the text. Its quotes are of a kind that the text does not hold.
fn block(text: &str) -> String {
    let mark = (0_u32..)
        .map(|number| format!("kodex_step_{number}"))
        .find(|mark| !text.contains(mark.as_str()))
        .unwrap_or_default();
    format!(
        "DO LANGUAGE plpgsql ${mark}_block$BEGIN EXECUTE ${mark}_text${text}\n${mark}_text$; END${mark}_block$"
    )
}

/// Runs the text as the owner, inside a function that exists in this transaction only. Inside a function
/// with the rights of its owner the server refuses `SET ROLE`, so the text cannot become the role that
/// writes the ledger.
async fn boxed(
    line: &mut Line,
    plugin: &PluginName,
    step: &Step,
    home: &Home,
    owner: &str,
) -> Result<(), StoreError> {
    let owner = quoted(owner);
    let function = format!("{}.kodex_step", quoted(&home.schema));
    let make = format!(
        "SET LOCAL ROLE {owner};
         CREATE FUNCTION {function}(text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
         AS 'BEGIN EXECUTE $1; END';
         SET LOCAL ROLE NONE"
    );
    batch(line, plugin, step, &make).await?;
    line.in_flight = true;
    let call = format!("SELECT {function}($1)");
    let done = line.query_typed(&call, &[(&step.text, Type::TEXT)]).await;
    line.in_flight = false;
    done.map_err(|error| {
        line.spoiled |= error.as_db_error().is_none();
        refused(plugin, step, &error)
    })?;
    let forget = format!(
        "SET LOCAL ROLE {owner}; DROP FUNCTION IF EXISTS {function}(text); SET LOCAL ROLE NONE"
    );
    batch(line, plugin, step, &forget).await
}

async fn batch(
    line: &mut Line,
    plugin: &PluginName,
    step: &Step,
    sql: &str,
) -> Result<(), StoreError> {
    line.in_flight = true;
    let done = line.batch_execute(sql).await;
    line.in_flight = false;
    done.map_err(|error| {
        line.spoiled |= error.as_db_error().is_none();
        refused(plugin, step, &error)
    })
}

/// Where there are no blocks, a mark that ends with the transaction says whether a step ended it.
async fn unblocked(
    line: &mut Line,
    plugin: &PluginName,
    step: &Step,
    owner: Option<&str>,
    inner: &Inner,
) -> Result<(), StoreError> {
    let own = |trouble| inner.own(trouble, "a step");
    let mark = step.id(plugin);
    line.rows(
        "SELECT set_config('kodex.step', $1, true)",
        &[Arg::Text(&mark)],
    )
    .await
    .map_err(own)?;
    if let Some(owner) = owner {
        let set = format!("SET LOCAL ROLE {}", quoted(owner));
        batch(line, plugin, step, &set).await?;
    }
    batch(line, plugin, step, &step.text).await?;
    batch(line, plugin, step, "SET LOCAL ROLE NONE").await?;
    let rows = line
        .rows("SELECT current_setting('kodex.step', true)", &[])
        .await
        .map_err(own)?;
    let found: Option<String> = rows.first().and_then(|row| row.get(0));
    if found.as_deref() == Some(mark.as_str()) {
        return Ok(());
    }
    Err(StoreError::BadStatement {
        plugin: plugin.clone(),
        problem: format!(
            "{mark} ended its transaction, and what it did before that may be there; \
             put the database right, take BEGIN, COMMIT and ROLLBACK out, and upgrade again"
        ),
        position: None,
    })
}

/// The error of a step, in terms of its file.
fn refused(plugin: &PluginName, step: &Step, error: &tokio_postgres::Error) -> StoreError {
    let said = error::plugin(plugin, error, None);
    let Some(db) = error.as_db_error() else {
        return said;
    };
    let StoreError::Sql {
        plugin,
        engine_code,
        message,
        ..
    } = said
    else {
        return said;
    };
    let file = &step.file;
    if engine_code == "0A000" && message.contains("transaction commands") {
        return StoreError::BadStatement {
            plugin,
            problem: format!(
                "{file} begins or ends a transaction; each step runs in one that Kodex begins and ends"
            ),
            position: None,
        };
    }
    let hint = if engine_code == "25001" {
        "; a statement that cannot run in a transaction goes into a step of its own with the header `-- kodex: no-transaction`"
    } else {
        ""
    };
    let position = match db.position() {
        Some(ErrorPosition::Internal { position, query }) if query.starts_with(&step.text) => {
            Some(*position)
        }
        Some(ErrorPosition::Original(position)) if step.kind == StepKind::Bare => Some(*position),
        _ => None,
    };
    StoreError::Sql {
        plugin,
        engine_code,
        message: format!("{file}: {message}{hint}"),
        position: position.and_then(|position| usize::try_from(position).ok()),
    }
}

impl Ledger for PgLedger {
    fn applied<'a>(&'a self, plugin: &'a PluginName) -> Work<'a, Vec<Applied>> {
        Box::pin(self.rows(plugin))
    }

    fn apply<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        Box::pin(async move {
            let home = self.inner.home(plugin).await?;
            match step.kind {
                StepKind::Sql => self.apply_in_one(plugin, &home, step, after).await,
                StepKind::Bare => self.apply_bare(plugin, &home, step, after).await,
                StepKind::Code => Err(StoreError::Internal(format!(
                    "{} is a data step and has no SQL to run",
                    step.id(plugin)
                ))),
            }
        })
    }

    fn record<'a>(
        &'a self,
        plugin: &'a PluginName,
        step: &'a Step,
        after: Option<&'a str>,
    ) -> Work<'a, Applied> {
        Box::pin(self.enter_own(plugin, step, after))
    }

    fn progress<'a>(&'a self, plugin: &'a PluginName, id: &'a str) -> Work<'a, Option<Progress>> {
        Box::pin(async move {
            let Some(home) = self.inner.find(plugin).await? else {
                return Ok(None);
            };
            let sql = format!(
                "SELECT progress FROM {}.kodex_progress WHERE id = $1",
                quoted(&home.schema)
            );
            let mut line = self.inner.line().await?;
            let rows = line
                .rows(&sql, &[Arg::Text(id)])
                .await
                .map_err(|trouble| self.inner.own(trouble, "reading progress"))?;
            Ok(rows.first().map(|row| Progress {
                id: id.to_owned(),
                progress: row.get(0),
            }))
        })
    }

    fn save_progress<'a>(&'a self, plugin: &'a PluginName, progress: &'a Progress) -> Work<'a, ()> {
        Box::pin(async move {
            let home = self.inner.home(plugin).await?;
            let sql = format!(
                "INSERT INTO {}.kodex_progress (id, progress) VALUES ($1, $2)
                 ON CONFLICT (id) DO UPDATE SET progress = excluded.progress",
                quoted(&home.schema)
            );
            let mut line = self.inner.line().await?;
            line.rows(
                &sql,
                &[Arg::Text(&progress.id), Arg::Text(&progress.progress)],
            )
            .await
            .map_err(|trouble| self.inner.own(trouble, "saving progress"))?;
            Ok(())
        })
    }

    fn rename<'a>(&'a self, from: &'a PluginName, to: &'a PluginName) -> Work<'a, ()> {
        Box::pin(rename::rename(&self.inner, from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_judged() {
        let plugin = PluginName::new("notes").expect("a name");
        let check = |id: &str, checksum: &str, at: i64, fine: bool| {
            let judged = judge(&plugin, id.to_owned(), checksum.to_owned(), at);
            assert_eq!(judged.is_ok(), fine, "{judged:?}");
        };
        let good = "0123456789abcdef".repeat(4);
        check("plugin:notes/0001_a.sql", &good, 0, true);
        check("plugin:notes2/0001_a.sql", &good, 0, false);
        check("plugin:notes/", &good, 0, false);
        check("plugin:notes/0001_a.sql", &good.to_uppercase(), 0, false);
        check("plugin:notes/0001_a.sql", &good[1..], 0, false);
        check("plugin:notes/0001_a.sql", &good, -1, false);
    }

    #[test]
    fn a_block_quotes_what_its_text_does_not_hold() {
        let text = "SELECT '$kodex_step_0_text$'";
        let block = block(text);
        assert!(
            block.contains("EXECUTE $kodex_step_1_text$SELECT"),
            "{block}"
        );
        assert!(
            block.ends_with("\n$kodex_step_1_text$; END$kodex_step_1_block$"),
            "{block}"
        );
    }
}
