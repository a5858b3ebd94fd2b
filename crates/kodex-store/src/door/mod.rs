//! The door for plugins: the requests `db/*` as they are sent, run on the plugin's namespace, and its
//! rows as they are answered.
//!
//! What a call opens is kept under its number and closed when the call ends, answered or not; a
//! transaction has a lease besides. The door does not decide whether a plugin may have a namespace: its
//! owner hands that in with each request, and it is awaited only where it is needed.

mod opened;

use std::sync::Arc;

use kodex_plugin::{
    Clock, HostError, Json, PluginName,
    wire::store::{DbBegin, DbFetch, DbQuery, DbTransaction, method},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex as AsyncMutex;

use self::opened::{Closing, LEASE, Opened, Thing, until_closed};
use crate::{Bounds, Column, Namespace, Rows, Statement, StoreError, Value};

/// Room for the envelope around a result in a frame.
const ENVELOPE_BYTES: usize = 1 << 10;

/// The way of one plugin to its tables.
pub struct Door {
    plugin: PluginName,
    /// Most bytes of a result as JSON.
    bytes: usize,
    opened: Opened,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}

impl Door {
    /// The door of a plugin. `clock` decides about leases; an answer fits into a frame of `frame_bytes`.
    #[must_use]
    pub fn new(plugin: PluginName, clock: Arc<dyn Clock>, frame_bytes: usize) -> Self {
        Self {
            bytes: frame_bytes.saturating_sub(ENVELOPE_BYTES),
            opened: Opened::new(plugin.clone(), clock),
            plugin,
        }
    }

    /// Answers one request of the family `db/*`.
    ///
    /// # Errors
    /// What the plugin is told: the codes of [`StoreError`], `db.transaction`, `db.too_many_open`,
    /// `call.ended`, and whatever `namespace` fails with.
    pub async fn serve(
        &self,
        method: &str,
        params: &Json,
        namespace: impl Future<Output = Result<Arc<dyn Namespace>, HostError>>,
    ) -> Result<Json, HostError> {
        match method {
            method::DB_QUERY => self.query(read(method, params)?, namespace).await,
            method::DB_FETCH => self.fetch(read(method, params)?).await,
            method::DB_CLOSE => {
                let DbFetch { cursor, .. } = read(method, params)?;
                self.ended(cursor);
                Ok(Json::null())
            }
            method::DB_BEGIN => self.begin(read(method, params)?, namespace).await,
            method::DB_COMMIT | method::DB_ROLLBACK => {
                let DbTransaction { tx } = read(method, params)?;
                self.end(tx, method == method::DB_COMMIT).await
            }
            method::DB_SAVE | method::DB_RELEASE | method::DB_UNDO => {
                let DbTransaction { tx } = read(method, params)?;
                self.level(tx, method).await
            }
            unknown => Err(HostError::unknown_method(unknown)),
        }
    }

    /// Closes what was opened under a call, or one thing by its own number.
    pub fn ended(&self, number: u64) {
        self.opened.ended(number);
    }

    async fn query(
        &self,
        query: DbQuery,
        namespace: impl Future<Output = Result<Arc<dyn Namespace>, HostError>>,
    ) -> Result<Json, HostError> {
        let params = query
            .params
            .map_or(serde_json::Value::Null, Json::into_value);
        let statement = Statement::from_json(query.sql, params)
            .map_err(|mistake| HostError::from(mistake.of(&self.plugin)))?;
        let bounds = self.bounds(query.max_rows);
        match (query.tx, query.page) {
            (Some(_), Some(_)) => Err(HostError::new(
                "db.transaction",
                "a result is not read in pages inside a transaction",
            )),
            (Some(tx), None) => {
                let (thing, closed) = self.opened.find(tx)?;
                let Thing::Tx(tx) = thing else {
                    return Err(self.opened.unknown(tx));
                };
                let run = async { tx.lock().await.run(&statement, &bounds).await };
                let rows = until_closed(&closed, run).await?;
                self.answer(&rows, None)
            }
            (None, None) => {
                let (number, closed) = self.opened.keep(query.call, Thing::Statement)?;
                let _open = self.closing(number);
                let namespace = namespace.await?;
                let rows = until_closed(&closed, namespace.run(&statement, &bounds)).await?;
                self.answer(&rows, None)
            }
            (None, Some(n_rows)) => {
                let namespace = namespace.await?;
                let cursor = namespace.open(&statement, &bounds).await?;
                let cursor = Thing::Cursor(Arc::new(AsyncMutex::new(cursor)));
                let (number, _) = self.opened.keep(query.call, cursor)?;
                self.fetch(DbFetch {
                    cursor: number,
                    page: Some(n_rows),
                })
                .await
            }
        }
    }

    async fn fetch(&self, fetch: DbFetch) -> Result<Json, HostError> {
        let number = fetch.cursor;
        let (thing, closed) = self.opened.find(number)?;
        let Thing::Cursor(cursor) = thing else {
            return Err(self.opened.unknown(number));
        };
        let usual = self.bounds(None);
        // A page ends by its bytes instead of failing, so it leaves room for what values grow to as JSON.
        let bounds = Bounds {
            bytes: usual.bytes / 2,
            ..usual
        };
        let n_rows = fetch.page.unwrap_or(bounds.n_rows).clamp(1, bounds.n_rows);
        let next = async { cursor.lock().await.next(n_rows, &bounds).await };
        let rows = until_closed(&closed, next).await;
        let is_last = matches!(&rows, Ok(rows) if rows.rows.is_empty());
        let page = rows.and_then(|rows| self.answer(&rows, (!is_last).then_some(number)));
        // After a page that was lost the next one would leave a gap nobody sees.
        if is_last || page.is_err() {
            self.ended(number);
        }
        page
    }

    async fn begin(
        &self,
        begin: DbBegin,
        namespace: impl Future<Output = Result<Arc<dyn Namespace>, HostError>>,
    ) -> Result<Json, HostError> {
        let namespace = namespace.await?;
        let bounds = Bounds {
            until: Some(self.opened.now() + LEASE),
            ..self.bounds(None)
        };
        // The place is taken before the wait for the writer, so that the end of the call ends the wait.
        let (waiting, closed) = self.opened.keep(begin.call, Thing::Statement)?;
        let _waiting = self.closing(waiting);
        let tx = until_closed(&closed, namespace.begin(&bounds)).await?;
        let thing = Thing::Tx(Arc::new(AsyncMutex::new(tx)));
        let (tx, _) = self.opened.keep(begin.call, thing)?;
        written(&DbTransaction { tx })
    }

    async fn end(&self, number: u64, commit: bool) -> Result<Json, HostError> {
        let Some(Thing::Tx(tx)) = self.opened.take(number) else {
            return Err(self.opened.unknown(number));
        };
        // A statement of this transaction that still runs holds the other handle.
        let Some(tx) = Arc::into_inner(tx) else {
            let text =
                "a statement of the transaction was still running; the transaction is rolled back";
            return Err(HostError::new("db.transaction", text));
        };
        let tx = tx.into_inner();
        let ended = if commit { tx.commit() } else { tx.rollback() };
        ended.await?;
        Ok(Json::null())
    }

    async fn level(&self, number: u64, method: &str) -> Result<Json, HostError> {
        let (thing, closed) = self.opened.find(number)?;
        let Thing::Tx(tx) = thing else {
            return Err(self.opened.unknown(number));
        };
        let change = async {
            let mut tx = tx.lock().await;
            match method {
                method::DB_SAVE => tx.save().await,
                method::DB_RELEASE => tx.release().await,
                _ => tx.undo().await,
            }
        };
        until_closed(&closed, change).await?;
        Ok(Json::null())
    }

    fn bounds(&self, max_rows: Option<usize>) -> Bounds {
        let usual = Bounds::default();
        Bounds {
            n_rows: max_rows.map_or(usual.n_rows, |wanted| wanted.min(usual.n_rows)),
            bytes: self.bytes.min(usual.bytes),
            ..usual
        }
    }

    fn closing(&self, number: u64) -> Closing<'_> {
        Closing {
            opened: &self.opened,
            number,
        }
    }

    fn answer(&self, rows: &Rows, cursor: Option<u64>) -> Result<Json, HostError> {
        #[derive(Serialize)]
        struct Answer<'a> {
            columns: &'a [Column],
            rows: &'a [Vec<Value>],
            changed: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            cursor: Option<u64>,
        }
        let answer = written(&Answer {
            columns: &rows.columns,
            rows: &rows.rows,
            changed: rows.n_changed,
            cursor,
        })?;
        if answer.text().len() <= self.bytes {
            return Ok(answer);
        }
        Err(HostError::from(StoreError::TooManyBytes {
            plugin: self.plugin.clone(),
            limit: self.bytes,
        }))
    }
}

/// What a plugin is told of a failure.
impl From<StoreError> for HostError {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Reads the parameters of a method.
///
/// # Errors
/// `params.invalid`.
pub fn read<T: DeserializeOwned>(method: &str, params: &Json) -> Result<T, HostError> {
    params
        .to()
        .map_err(|error| HostError::new("params.invalid", format!("{method}: {error}")))
}

/// Writes a result. What is written here is within the host's own bounds.
///
/// # Errors
/// `internal`.
pub fn written(result: &impl Serialize) -> Result<Json, HostError> {
    let raw = serde_json::value::to_raw_value(result);
    raw.map(Json::checked)
        .map_err(|error| HostError::new("internal", error.to_string()))
}
