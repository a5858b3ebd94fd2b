//! The tables of one plugin.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use kodex_plugin::PluginName;

use super::{
    Inner, Stay,
    answer::{Ahead, Request, deadline, run},
    cursor::PgCursor,
    pool::{Arg, Line},
    roles::Home,
    transaction::PgTransaction,
};
use crate::{Access, Bounds, Cursor, Namespace, Rows, Statement, StoreError, Transaction, Work};

/// After how many statements that may take room the quota is looked at.
const QUOTA_EVERY: u32 = 16;

/// One plugin's tables under one access.
pub(super) struct PgNamespace {
    inner: Arc<Inner>,
    plugin: PluginName,
    access: Access,
    /// None where a reader came before the first writer; it is looked for again each time.
    home: Option<Home>,
    n_writes: AtomicU32,
}

impl PgNamespace {
    pub(super) fn new(
        inner: Arc<Inner>,
        plugin: PluginName,
        access: Access,
        home: Option<Home>,
    ) -> Self {
        Self {
            inner,
            plugin,
            access,
            home,
            n_writes: AtomicU32::new(0),
        }
    }

    async fn line(&self, bounds: &Bounds, stay: Stay) -> Result<Line, StoreError> {
        let deadline = Some(deadline(bounds));
        let home = match &self.home {
            Some(home) => Some(home.clone()),
            None => self.inner.find(&self.plugin).await?,
        };
        match home {
            Some(home) => {
                self.inner
                    .plugin_line(&self.plugin, &home, self.access.into(), stay, deadline)
                    .await
            }
            None => self.inner.nobody(&self.plugin, stay, deadline).await,
        }
    }

    /// Refuses what may take room when the plugin has none left.
    async fn check_quota(&self, request: &Request<'_>) -> Result<(), StoreError> {
        let (Some(quota), Access::Write | Access::Migrate) =
            (self.inner.options.quota_bytes, self.access)
        else {
            return Ok(());
        };
        if request.outline().makes_room()
            || !self
                .n_writes
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(QUOTA_EVERY)
        {
            return Ok(());
        }
        let used = self.inner.size(&self.plugin).await?;
        if used < quota {
            return Ok(());
        }
        // The next one looks again.
        self.n_writes.store(0, Ordering::Relaxed);
        Err(StoreError::Full {
            plugin: self.plugin.clone(),
            problem: format!(
                "its tables have {used} bytes of a quota of {quota}; delete rows and run VACUUM in the database, or ask for a larger quota"
            ),
        })
    }
}

impl Inner {
    /// Bytes of a plugin's tables with their indexes.
    async fn size(&self, plugin: &PluginName) -> Result<u64, StoreError> {
        let Some(home) = self.find(plugin).await? else {
            return Ok(0);
        };
        let mut line = self.line().await?;
        let rows = line
            .rows(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relkind IN ('r', 'm')",
                &[Arg::Text(&home.schema)],
            )
            .await
            .map_err(|trouble| self.own(trouble, "measuring a namespace"))?;
        let bytes: i64 = rows.first().map_or(0, |row| row.get(0));
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

impl Namespace for PgNamespace {
    fn run<'a>(&'a self, statement: &'a Statement, bounds: &'a Bounds) -> Work<'a, Rows> {
        Box::pin(async move {
            let request = Request::read(&self.plugin, statement, bounds)?;
            self.check_quota(&request).await?;
            let mut line = self.line(bounds, Stay::Short).await?;
            // Where an answer that is too long must undo what the statement changed, it cannot commit itself.
            let undoes = contains(&request.bound.text, "returning");
            let ahead = if undoes { Ahead::Begin } else { Ahead::Clean };
            let rows = match run(&mut line, &request, ahead).await {
                Err(StoreError::Sql {
                    engine_code,
                    message,
                    ..
                }) if is_stale(&engine_code, &message) && !undoes && !line.spoiled => {
                    line.statement_cache.clear();
                    run(&mut line, &request, Ahead::Nothing).await?
                }
                done => done?,
            };
            if undoes {
                super::transaction::commit(&mut line, &self.plugin).await?;
            }
            Ok(rows)
        })
    }

    fn open<'a>(
        &'a self,
        statement: &'a Statement,
        bounds: &'a Bounds,
    ) -> Work<'a, Box<dyn Cursor>> {
        Box::pin(async move {
            let request = Request::read(&self.plugin, statement, bounds)?;
            self.check_quota(&request).await?;
            let line = self.line(bounds, Stay::Long).await?;
            Ok(Box::new(PgCursor::open(line, &request, &self.inner).await?) as Box<dyn Cursor>)
        })
    }

    fn begin<'a>(&'a self, bounds: &'a Bounds) -> Work<'a, Box<dyn Transaction>> {
        Box::pin(async move {
            let line = self.line(bounds, Stay::Long).await?;
            let begun = PgTransaction::begin(line, self.plugin.clone(), bounds, &self.inner);
            Ok(Box::new(begun.await?) as Box<dyn Transaction>)
        })
    }
}

fn contains(text: &str, word: &str) -> bool {
    text.as_bytes()
        .windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether a prepared statement is not what it was: its tables were changed, or the plugin forgot it.
pub(super) fn is_stale(code: &str, message: &str) -> bool {
    code == "26000" || (code == "0A000" && message.starts_with("cached plan"))
}
