//! Parameters and results of the services `db/*`, `state/*` and `step/*`.

use serde::{Deserialize, Serialize};

use crate::Json;

/// Method names.
pub mod method {
    /// Runs one statement; gives rows.
    pub const DB_QUERY: &str = "db/query";
    /// Reads the next page of a large result.
    pub const DB_FETCH: &str = "db/fetch";
    /// Closes a large result before its end.
    pub const DB_CLOSE: &str = "db/close";
    /// Begins a transaction.
    pub const DB_BEGIN: &str = "db/begin";
    /// Makes a transaction durable.
    pub const DB_COMMIT: &str = "db/commit";
    /// Undoes a transaction.
    pub const DB_ROLLBACK: &str = "db/rollback";
    /// Opens a savepoint in a transaction.
    pub const DB_SAVE: &str = "db/save";
    /// Ends the innermost savepoint and keeps its changes.
    pub const DB_RELEASE: &str = "db/release";
    /// Ends the innermost savepoint and undoes its changes.
    pub const DB_UNDO: &str = "db/undo";
    /// Reads one value.
    pub const STATE_GET: &str = "state/get";
    /// Writes one value.
    pub const STATE_SET: &str = "state/set";
    /// Deletes one value.
    pub const STATE_DELETE: &str = "state/delete";
    /// Lists keys.
    pub const STATE_LIST: &str = "state/list";
    /// Takes a lock.
    pub const STATE_LOCK: &str = "state/lock";
    /// Prolongs a lock.
    pub const STATE_RENEW: &str = "state/renew";
    /// Gives a lock back.
    pub const STATE_UNLOCK: &str = "state/unlock";
    /// Remembers how far a data step is.
    pub const STEP_PROGRESS: &str = "step/progress";
}

/// Parameters of `db/query`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DbQuery {
    /// One SQL statement with `?`, `$1` or `:name` for its parameters.
    pub sql: String,
    /// An array or an object; see the table of values in `contract/WIRE.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Json>,
    /// The transaction to run in; none for one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx: Option<u64>,
    /// Reads the result in pages of this many rows; not inside a transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
    /// The most rows that are wanted; more are an error. At most the host's own bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<usize>,
    /// The id of the `call` that this is part of; what it opens is closed when that call ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
}

/// Result of `db/query` and `db/fetch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DbRows {
    /// The columns.
    pub columns: Vec<DbColumn>,
    /// The rows, each an array of values as long as `columns`.
    pub rows: Vec<Vec<Json>>,
    /// How many rows were inserted, updated or deleted.
    #[serde(default)]
    pub changed: u64,
    /// There is more: the cursor for `db/fetch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DbColumn {
    /// Its name.
    pub name: String,
    /// Its declared type in lower case, or `any`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Parameters of `db/fetch` and `db/close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DbFetch {
    /// The cursor.
    pub cursor: u64,
    /// Rows of this page; `db/close` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<usize>,
}

/// Parameters of `db/begin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DbBegin {
    /// The id of the `call` that this is part of. Without one, the transaction ends with its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
}

/// Result of `db/begin`, and parameters of what goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DbTransaction {
    /// The transaction.
    pub tx: u64,
}

/// Parameters of `state/get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateGet {
    /// The key.
    pub key: String,
}

/// Result of `state/get`; `{}` when there is no value.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateValue {
    /// The value.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub value: Option<Json>,
    /// Rises with every write of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// When it is gone, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// A field that is there counts, whatever its value: `null` is a value.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// A lock under which a change is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateLease {
    /// The lock's key.
    pub key: String,
    /// The fencing token.
    pub token: u64,
    /// Until when it is held, in milliseconds since 1970-01-01 UTC.
    #[serde(default)]
    pub until_ms: u64,
}

/// Parameters of `state/set`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateSet {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Json,
    /// How long it lives, in milliseconds; none for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// Only if the value has this version; 0 for no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
    /// Only while this lock is held; otherwise an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<StateLease>,
}

/// Parameters of `state/delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateDelete {
    /// The key.
    pub key: String,
    /// Only if the value has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
    /// Only while this lock is held; otherwise an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<StateLease>,
}

/// Result of `state/set` and `state/delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateWritten {
    /// Whether the condition held. A deletion of a key without a value is done.
    pub done: bool,
    /// The version of the new, of the deleted or, when it was not done, of the present value; 0 for none.
    pub version: u64,
}

/// Parameters of `state/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateList {
    /// Only keys that begin with this.
    #[serde(default)]
    pub prefix: String,
    /// Only keys after this one in byte order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The most keys; at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Result of `state/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateKeys {
    /// The keys in byte order.
    pub keys: Vec<StateKey>,
    /// There may be more: the `after` of the next list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// One key of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateKey {
    /// The key.
    pub key: String,
    /// The version of its value.
    pub version: u64,
    /// Bytes of its value.
    pub bytes: u64,
    /// When it is gone, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
}

/// Parameters of `state/lock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateLock {
    /// The lock's key.
    pub key: String,
    /// How long it is held at most.
    pub ttl_ms: u64,
}

/// Parameters of `state/renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateRenew {
    /// The lock as it was taken.
    pub lease: StateLease,
    /// How long it is held at most, from now.
    pub ttl_ms: u64,
}

/// Parameters of `state/unlock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StateUnlock {
    /// The lock as it was taken.
    pub lease: StateLease,
}

/// Result of `state/unlock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateUnlocked {
    /// Whether the lock was still held under this token.
    pub held: bool,
}

/// The payload of a call of kind `step`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepPayload {
    /// What the step wrote with `step/progress` before it was interrupted; null at the first time.
    #[serde(default)]
    pub progress: Json,
}

/// Parameters of `step/progress`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StepProgress {
    /// What the step wants to be told when it is run again; at most 64 KiB.
    pub progress: Json,
    /// The counters so far, for whoever watches.
    #[serde(default)]
    pub counts: StepCounts,
}

/// The reply to a call of kind `step`; nothing is all zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StepCounts {
    /// Records looked at.
    pub scanned: u64,
    /// Records changed.
    pub migrated: u64,
    /// Records that were done already.
    pub existing: u64,
    /// Records that were malformed or gone.
    pub missing: u64,
    /// Records left out on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
}
