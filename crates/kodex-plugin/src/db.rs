//! A plugin's own database, for plugins in Rust: a thin door over the host services `db/*`.
//!
//! Unqualified table names are the plugin's own; the host refuses everything else. The same SQL runs
//! on SQLite and Postgres where it is portable; `?`, `$1` and `:name` work on both.

use std::{ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    Context, Host, HostError, Json,
    wire::store::{DbBegin, DbFetch, DbQuery, DbRows, DbTransaction, method},
};

/// The plugin's database. Cloning it is cheap.
///
/// ```
/// use kodex_plugin::{Context, HostError, db::Db};
/// use serde::Deserialize;
/// use serde_json::json;
///
/// #[derive(Deserialize)]
/// struct Note { id: i64, text: String }
///
/// async fn add(context: &Context) -> Result<Vec<Note>, HostError> {
///     let db = Db::of(context);
///     let tx = db.begin().await?;
///     tx.execute("INSERT INTO notes (text) VALUES (?)", json!(["buy milk"])).await?;
///     let notes = tx.query("SELECT id, text FROM notes", json!([])).await?.to()?;
///     tx.commit().await?;
///     Ok(notes)
/// }
/// ```
#[derive(Clone)]
pub struct Db {
    host: Arc<dyn Host>,
    tx: Option<u64>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("tx", &self.tx)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// The database of the plugin that was activated with this context.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        Self::new(context.host.clone())
    }

    /// The database behind a host.
    #[must_use]
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host, tx: None }
    }

    /// Runs one statement and gives all its rows. Parameters are an array or an object.
    ///
    /// # Errors
    /// [`HostError`] with a code of the families `db.` and `store.`.
    pub async fn query(&self, sql: &str, params: impl Into<Json>) -> Result<Rows, HostError> {
        self.run(sql, params.into(), None).await
    }

    /// Runs one statement that gives at most one row.
    ///
    /// # Errors
    /// As [`Db::query`]; `db.too_many_rows` when there are two.
    pub async fn query_one<T: DeserializeOwned>(
        &self,
        sql: &str,
        params: impl Into<Json>,
    ) -> Result<Option<T>, HostError> {
        let rows = self.run(sql, params.into(), Some(1)).await?;
        Ok(rows.to()?.pop())
    }

    /// Runs one statement and says how many rows it inserted, updated or deleted.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn execute(&self, sql: &str, params: impl Into<Json>) -> Result<u64, HostError> {
        Ok(self.run(sql, params.into(), None).await?.n_changed())
    }

    /// Reads a large result in pages of `n_rows`. Not inside a transaction.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn pages(
        &self,
        sql: &str,
        params: impl Into<Json>,
        n_rows: usize,
    ) -> Result<Pages, HostError> {
        let query = DbQuery {
            page: Some(n_rows),
            ..self.statement(sql, params.into())
        };
        let first: DbRows = self.ask(method::DB_QUERY, &query).await?;
        Ok(Pages {
            cursor: Opened {
                host: self.host.clone(),
                id: first.cursor,
            },
            next: Some(Rows(first)),
            n_rows,
        })
    }

    /// Begins a transaction. Dropping it without [`Tx::commit`] rolls it back, and so does the end of
    /// its lease.
    ///
    /// # Errors
    /// As [`Db::query`]; `db.transaction` inside a transaction, where [`Tx::save`] is meant: a second
    /// one would wait for the first.
    pub async fn begin(&self) -> Result<Tx, HostError> {
        if self.tx.is_some() {
            let text = "a transaction is running already; open a savepoint in it";
            return Err(HostError::new("db.transaction", text));
        }
        let begun: DbTransaction = self.ask(method::DB_BEGIN, &DbBegin::default()).await?;
        Ok(Tx {
            db: Self {
                host: self.host.clone(),
                tx: Some(begun.tx),
            },
            opened: Opened {
                host: self.host.clone(),
                id: Some(begun.tx),
            },
        })
    }

    fn statement(&self, sql: &str, params: Json) -> DbQuery {
        DbQuery {
            sql: sql.to_owned(),
            params: Some(params),
            tx: self.tx,
            ..DbQuery::default()
        }
    }

    async fn run(
        &self,
        sql: &str,
        params: Json,
        max_rows: Option<usize>,
    ) -> Result<Rows, HostError> {
        let query = DbQuery {
            max_rows,
            ..self.statement(sql, params)
        };
        self.ask(method::DB_QUERY, &query).await.map(Rows)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, HostError> {
        ask(&*self.host, method, params).await
    }
}

/// Asks a host for a service with typed parameters and result.
///
/// # Errors
/// The host's error; `host.form` when one side's form does not fit.
pub(crate) async fn ask<T: DeserializeOwned>(
    host: &dyn Host,
    method: &str,
    params: &impl Serialize,
) -> Result<T, HostError> {
    let form = |error: serde_json::Error| HostError::new("host.form", format!("{method}: {error}"));
    let answer = host
        .request(method, Json::of(params).map_err(form)?)
        .await?;
    answer.to().map_err(form)
}

/// A transaction: a [`Db`] whose statements take effect together. See [`Db::begin`].
#[derive(Debug)]
pub struct Tx {
    db: Db,
    opened: Opened,
}

impl Deref for Tx {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

impl Tx {
    /// Makes everything durable.
    ///
    /// # Errors
    /// As [`Db::query`]; then nothing took effect, unless the code is `store.lost`.
    pub async fn commit(self) -> Result<(), HostError> {
        self.end(method::DB_COMMIT).await
    }

    /// Undoes everything.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn rollback(self) -> Result<(), HostError> {
        self.end(method::DB_ROLLBACK).await
    }

    /// Opens a savepoint; [`Tx::release`] keeps what follows, [`Tx::undo`] takes it back.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn save(&self) -> Result<(), HostError> {
        self.tell(method::DB_SAVE).await
    }

    /// Ends the innermost savepoint and keeps its changes.
    ///
    /// # Errors
    /// As [`Db::query`]; `db.transaction` when there is none.
    pub async fn release(&self) -> Result<(), HostError> {
        self.tell(method::DB_RELEASE).await
    }

    /// Ends the innermost savepoint and undoes its changes.
    ///
    /// # Errors
    /// As [`Db::query`]; `db.transaction` when there is none.
    pub async fn undo(&self) -> Result<(), HostError> {
        self.tell(method::DB_UNDO).await
    }

    async fn tell(&self, method: &str) -> Result<(), HostError> {
        let tx = self.db.tx.unwrap_or_default();
        let _: Json = self.db.ask(method, &DbTransaction { tx }).await?;
        Ok(())
    }

    async fn end(mut self, method: &str) -> Result<(), HostError> {
        let told = self.tell(method).await;
        self.opened.id = None;
        told
    }
}

/// Something that the host holds open for the plugin, closed when it is dropped.
struct Opened {
    host: Arc<dyn Host>,
    id: Option<u64>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({:?})", self.id)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.host.ended(id);
        }
    }
}

/// A large result that is read in pages. See [`Db::pages`].
#[derive(Debug)]
pub struct Pages {
    cursor: Opened,
    next: Option<Rows>,
    n_rows: usize,
}

impl Pages {
    /// The next page; none at the end.
    ///
    /// # Errors
    /// As [`Db::query`].
    pub async fn next(&mut self) -> Result<Option<Rows>, HostError> {
        if let Some(first) = self.next.take() {
            return Ok(Some(first));
        }
        let Some(cursor) = self.cursor.id else {
            return Ok(None);
        };
        let fetch = DbFetch {
            cursor,
            page: Some(self.n_rows),
        };
        let page: DbRows = ask(&*self.cursor.host, method::DB_FETCH, &fetch).await?;
        self.cursor.id = page.cursor;
        Ok(Some(Rows(page)))
    }
}

/// The rows of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows(DbRows);

impl From<DbRows> for Rows {
    fn from(rows: DbRows) -> Self {
        Self(rows)
    }
}

impl Rows {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_empty()
    }

    /// How many rows the statement inserted, updated or deleted.
    #[must_use]
    pub fn n_changed(&self) -> u64 {
        self.0.changed
    }

    /// The columns and raw values, tags included.
    #[must_use]
    pub fn raw(&self) -> &DbRows {
        &self.0
    }

    /// Reads every row into a type whose fields are named like the columns. Tagged integers become
    /// numbers and tagged documents themselves; exact decimals become texts; bytes are read by [`Bytes`].
    ///
    /// # Errors
    /// `host.form` when a row does not have the form of `T`.
    pub fn to<T: DeserializeOwned>(&self) -> Result<Vec<T>, HostError> {
        let row = |values: &Vec<Json>| {
            let fields = self.0.columns.iter().zip(values);
            let object: Map<String, Value> = fields
                .map(|(column, value)| (column.name.clone(), plain(value.value())))
                .collect();
            T::deserialize(Value::Object(object))
                .map_err(|error| HostError::new("host.form", error.to_string()))
        };
        self.0.rows.iter().map(row).collect()
    }
}

/// A value without the tags that a Rust type can do without.
fn plain(value: &Value) -> Value {
    let tagged = value.as_object().filter(|fields| fields.len() == 1);
    let Some((tag, inner)) = tagged.and_then(|fields| fields.iter().next()) else {
        return match value {
            Value::Array(items) => items.iter().map(plain).collect(),
            other => other.clone(),
        };
    };
    match (tag.as_str(), inner) {
        ("$int", Value::String(text)) => text
            .parse::<i64>()
            .map_or_else(|_| inner.clone(), Value::from),
        ("$json" | "$numeric" | "$float", inner) => inner.clone(),
        _ => value.clone(),
    }
}

/// Bytes in a parameter or a row.
///
/// ```
/// use kodex_plugin::db::Bytes;
/// assert_eq!(serde_json::to_value(Bytes(vec![0, 255]))?, serde_json::json!({"$bytes": "AP8="}));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
struct Tagged {
    #[serde(rename = "$bytes")]
    bytes: String,
}

// Base64 is written out here because the contract's list of dependencies is closed.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(self.0.len().div_ceil(3) * 4);
        for three in self.0.chunks(3) {
            let at = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for nth in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * nth) & 63) as usize];
                text.push(if nth > three.len() {
                    '='
                } else {
                    letter.into()
                });
            }
        }
        Tagged { bytes: text }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged { bytes: text } = Tagged::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("no base64");
        let digits = text.trim_end_matches('=').as_bytes();
        if text.len() % 4 != 0 || text.len() - digits.len() > 2 {
            return Err(wrong());
        }
        let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
        for four in digits.chunks(4) {
            let mut bits = 0u32;
            for nth in 0..4 {
                let letter = four
                    .get(nth)
                    .map(|letter| LETTERS.iter().position(|known| known == letter));
                bits = bits << 6
                    | u32::try_from(letter.map_or(Some(0), |at| at).ok_or_else(wrong)?)
                        .unwrap_or(0);
            }
            bytes.extend(bits.to_be_bytes()[1..].iter().take(four.len() - 1));
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_read_into_types() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Row {
            id: i64,
            price: String,
            tags: Value,
            blob: Bytes,
        }
        let rows: DbRows = serde_json::from_value(json!({
            "columns": [{"name": "id", "type": "integer"}, {"name": "price", "type": "numeric"},
                        {"name": "tags", "type": "json"}, {"name": "blob", "type": "blob"}],
            "rows": [[{"$int": "9007199254740993"}, {"$numeric": "1.10"}, {"$json": {"$int": "1"}}, {"$bytes": "AQID"}]],
        }))
        .expect("rows");
        let want = Row {
            id: 9_007_199_254_740_993,
            price: "1.10".into(),
            tags: json!({"$int": "1"}),
            blob: Bytes(vec![1, 2, 3]),
        };
        assert_eq!(Rows(rows).to::<Row>().expect("fits"), [want]);
    }

    #[test]
    fn bytes_of_every_length_come_back() {
        for len in 0..9u8 {
            let bytes = Bytes((0..len).map(|at| at.wrapping_mul(83)).collect());
            let json = serde_json::to_value(&bytes).expect("writes");
            assert_eq!(serde_json::from_value::<Bytes>(json).expect("reads"), bytes);
        }
        for text in ["A", "AAAA=", "A===", "####"] {
            assert!(
                serde_json::from_value::<Bytes>(json!({"$bytes": text})).is_err(),
                "{text}"
            );
        }
    }
}
