//! How the store fails. Messages name the plugin and what to do; none holds a parameter's value, a
//! row or a password.

use kodex_plugin::PluginName;

/// A failed operation of the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The text that names a store cannot be read.
    #[error(
        "{place:?} names no store: {problem}; write sqlite:PATH or postgres://USER@HOST/DATABASE"
    )]
    BadPlace {
        /// The text without its password.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store cannot be reached or opened.
    #[error("cannot open the store at {place}: {problem}")]
    Unreachable {
        /// Where, without a password.
        place: String,
        /// The engine's or the system's words.
        problem: String,
    },
    /// The engine is too old or lacks something.
    #[error("the store at {place} cannot be used: {problem}")]
    Unsupported {
        /// Where, without a password.
        place: String,
        /// What is missing and what to do.
        problem: String,
    },
    /// A newer Kodex wrote this store.
    #[error(
        "the store at {place} has format {found}; this Kodex knows formats up to {known}. Use the newer Kodex"
    )]
    Newer {
        /// Where, without a password.
        place: String,
        /// The format that was found.
        found: u32,
        /// The newest known format.
        known: u32,
    },
    /// Another process holds the file or the rows for too long.
    #[error("{what} is busy: another process or transaction holds it; try again")]
    Busy {
        /// What is busy.
        what: String,
    },
    /// No space is left, on the disk or in the plugin's quota.
    #[error("plugin {plugin}: no space left: {problem}")]
    Full {
        /// Whose write it was.
        plugin: PluginName,
        /// Disk or quota, and how to get room.
        problem: String,
    },
    /// The store or the namespace can only be read.
    #[error("{what} can only be read: {problem}")]
    ReadOnly {
        /// What can only be read.
        what: String,
        /// Why.
        problem: String,
    },
    /// The engine found damage.
    #[error("{what} is damaged: {problem}; restore it from a backup")]
    Damaged {
        /// File or table.
        what: String,
        /// The engine's words.
        problem: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The connection broke; whether the last change happened is unknown.
    #[error("the connection to the store broke during {during}; whether it took effect is unknown")]
    Lost {
        /// What was going on.
        during: &'static str,
    },

    /// The engine refused a statement because of what it says.
    #[error("plugin {plugin}: {message}{}", at(.position))]
    Sql {
        /// Whose statement it was.
        plugin: PluginName,
        /// The engine's own code: an SQLSTATE or SQLite's extended code by name.
        engine_code: String,
        /// The engine's message. The dialects remove values from it.
        message: String,
        /// Where in the plugin's own text: the character, from 1.
        position: Option<usize>,
    },
    /// A constraint of the plugin's own tables refused the row.
    #[error("plugin {plugin}: {message}")]
    Constraint {
        /// Whose statement it was.
        plugin: PluginName,
        /// The engine's own code.
        engine_code: String,
        /// Which constraint, without values.
        message: String,
    },
    /// The statement reaches for something outside the plugin's namespace or access.
    #[error("plugin {plugin} may not {action}")]
    Refused {
        /// Whose statement it was.
        plugin: PluginName,
        /// What it tried, for example `attach a file`, `read kodex_journal`, `change the schema`.
        action: String,
    },
    /// The statement or transaction ran too long and was cancelled in the engine.
    #[error("plugin {plugin}: the statement was cancelled after {after_ms} ms")]
    Timeout {
        /// Whose statement it was.
        plugin: PluginName,
        /// How long it ran.
        after_ms: u64,
    },
    /// Another transaction was faster; the same work may succeed when it is done again from the start.
    #[error(
        "plugin {plugin}: the transaction ran into another one ({engine_code}); run it again from its start"
    )]
    Conflict {
        /// Whose transaction it was.
        plugin: PluginName,
        /// The engine's own code, such as 40001.
        engine_code: String,
    },
    /// The answer has more rows than allowed.
    #[error(
        "plugin {plugin}: the answer has more than {limit} rows; add a LIMIT or read it in pages"
    )]
    TooManyRows {
        /// Whose statement it was.
        plugin: PluginName,
        /// Rows allowed.
        limit: usize,
    },
    /// The answer, or one value of it, is larger than allowed.
    #[error(
        "plugin {plugin}: the answer is larger than {limit} bytes; select less or read it in pages"
    )]
    TooManyBytes {
        /// Whose statement it was.
        plugin: PluginName,
        /// Bytes allowed.
        limit: usize,
    },
    /// The statement or its parameters do not fit the rules that both engines share.
    #[error("plugin {plugin}: {problem}{}", at(.position))]
    BadStatement {
        /// Whose statement it was.
        plugin: PluginName,
        /// What is wrong and what to do.
        problem: String,
        /// The character, from 1.
        position: Option<usize>,
    },
    /// Savepoint or transaction calls that do not pair.
    #[error("plugin {plugin}: {problem}")]
    BadTransaction {
        /// Whose transaction it is.
        plugin: PluginName,
        /// What is wrong.
        problem: &'static str,
    },

    /// A key that no engine may see.
    #[error("plugin {plugin}: the state key {key:?} {problem}")]
    BadKey {
        /// Whose key it is.
        plugin: PluginName,
        /// Its beginning.
        key: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A time to live or a lease out of bounds.
    #[error("plugin {plugin}: a time of {ttl_ms} ms is out of bounds; 1 to {limit_ms} are allowed")]
    BadTtl {
        /// Whose it is.
        plugin: PluginName,
        /// What was asked.
        ttl_ms: u64,
        /// The most.
        limit_ms: u64,
    },
    /// A value over the limit.
    #[error("plugin {plugin}: the value of {key:?} has {bytes} bytes; at most {limit} are allowed")]
    ValueTooLarge {
        /// Whose value it is.
        plugin: PluginName,
        /// Its key.
        key: String,
        /// Its bytes.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// A plugin with too many keys.
    #[error("plugin {plugin} holds {limit} keys, the most there may be; delete some")]
    TooManyKeys {
        /// Whose keys they are.
        plugin: PluginName,
        /// The most.
        limit: u64,
    },
    /// A lock that somebody holds.
    #[error("plugin {plugin}: the lock {key:?} is held")]
    Locked {
        /// Whose lock it is.
        plugin: PluginName,
        /// The lock's logical key.
        key: String,
    },
    /// A lease that ran out or went to somebody else.
    #[error(
        "plugin {plugin}: the lock {key:?} is no longer held under this token; nothing was changed"
    )]
    LeaseLost {
        /// Whose lock it was.
        plugin: PluginName,
        /// The lock's logical key.
        key: String,
    },

    /// A job that no engine may see.
    #[error("plugin {plugin}: the job's {field} {problem}; nothing was stored")]
    BadJob {
        /// Whose job it is.
        plugin: PluginName,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// A row of a ledger that no Kodex wrote.
    #[error(
        "plugin {plugin}: the ledger row {id:?} is malformed: {problem}; restore the ledger from a backup"
    )]
    LedgerMalformed {
        /// Whose ledger it is.
        plugin: PluginName,
        /// The row's id as it stands there.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// A step was applied by somebody else meanwhile, or its predecessor is not there.
    #[error(
        "plugin {plugin}: the ledger changed while {id} was about to run; run `kodex upgrade` again"
    )]
    LedgerMoved {
        /// Whose ledger it is.
        plugin: PluginName,
        /// The step.
        id: String,
    },
    /// A bug: something that cannot happen did.
    #[error("internal: {0}")]
    Internal(String),
}

fn at(position: &Option<usize>) -> String {
    position.map_or_else(String::new, |position| format!(" (character {position})"))
}

/// One row of [`CODES`].
pub type Code = (&'static str, &'static str);

/// Every code of this crate with its meaning, for the reference.
pub const CODES: &[Code] = &[
    ("store.place", "The text that names a store cannot be read."),
    (
        "store.unreachable",
        "The store cannot be reached or opened: no server, wrong password, no such folder, no permission.",
    ),
    (
        "store.unsupported",
        "The engine is too old or lacks something that Kodex needs.",
    ),
    (
        "store.newer",
        "A newer Kodex wrote this store; use that one.",
    ),
    (
        "store.busy",
        "Another process or transaction holds the file or rows; try again.",
    ),
    (
        "store.full",
        "No space is left on the disk or in the plugin's quota.",
    ),
    (
        "store.read_only",
        "The store, its folder or the handle can only be read.",
    ),
    (
        "store.damaged",
        "The engine found damage; restore from a backup.",
    ),
    ("store.closed", "The store was closed."),
    (
        "store.lost",
        "The connection broke; whether the change took effect is unknown.",
    ),
    (
        "db.sql",
        "The engine refused the statement; the message has the position and the engine's own code.",
    ),
    (
        "db.constraint",
        "A constraint of the plugin's own tables refused the row.",
    ),
    (
        "db.refused",
        "The statement reaches outside the plugin's namespace or access.",
    ),
    (
        "db.timeout",
        "The statement ran too long and was cancelled in the engine.",
    ),
    (
        "db.conflict",
        "The transaction ran into another one; run it again from its start.",
    ),
    (
        "db.too_many_rows",
        "The answer has more rows than allowed; add a LIMIT or read it in pages.",
    ),
    (
        "db.too_many_bytes",
        "The answer is larger than allowed; select less or read it in pages.",
    ),
    (
        "db.statement",
        "The statement or its parameters do not fit the rules that both engines share.",
    ),
    (
        "db.transaction",
        "Savepoint or transaction calls that do not pair.",
    ),
    (
        "db.too_many_open",
        "The plugin has too many transactions open. Commit or roll back before beginning another.",
    ),
    (
        "call.ended",
        "The plugin asked for something in the name of a call that is over. Finish such work before answering.",
    ),
    (
        "state.key",
        "A state key is blank, too long or holds a NUL.",
    ),
    ("state.ttl", "A time to live or a lease is out of bounds."),
    ("state.too_large", "A state value is over the limit."),
    (
        "state.too_many_keys",
        "The plugin holds as many keys as it may.",
    ),
    ("state.locked", "Somebody holds the lock."),
    (
        "state.lease_lost",
        "The lock is no longer held under this token; nothing was changed.",
    ),
    (
        "job.invalid",
        "A job has a field that is blank, too long, too large or out of bounds; the message names it. Nothing was stored.",
    ),
    (
        "ledger.malformed",
        "A row of the ledger was not written by Kodex.",
    ),
    (
        "ledger.moved",
        "Another upgrade was at work at the same time; run it again.",
    ),
    ("store.internal", "A bug in Kodex."),
    (
        "store.integrity",
        "A check found a file that the engine cannot read whole; restore it from a backup.",
    ),
    (
        "store.foreign_key",
        "A check found rows that refer to rows which are not there.",
    ),
    (
        "store.ledger",
        "A check found rows in a ledger that no Kodex wrote; restore the ledger from a backup.",
    ),
    (
        "store.state",
        "A check found a damaged value; delete it or restore a backup.",
    ),
    (
        "store.job",
        "A check found a job that cannot be read, or lines or effects of one that is not there; prune them or restore a backup.",
    ),
    (
        "store.namespace",
        "A check found a plugin's schema gone, or one that belongs to no plugin; restore the database from a backup.",
    ),
    (
        "store.public",
        "A check found that everybody may do in the database what only Kodex should; revoke it as the message says.",
    ),
    (
        "store.roles",
        "A check found a plugin's role gone, or with rights that Kodex did not give it; the message says which.",
    ),
];

impl StoreError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadPlace { .. } => "store.place",
            Self::Unreachable { .. } => "store.unreachable",
            Self::Unsupported { .. } => "store.unsupported",
            Self::Newer { .. } => "store.newer",
            Self::Busy { .. } => "store.busy",
            Self::Full { .. } => "store.full",
            Self::ReadOnly { .. } => "store.read_only",
            Self::Damaged { .. } => "store.damaged",
            Self::Closed => "store.closed",
            Self::Lost { .. } => "store.lost",
            Self::Sql { .. } => "db.sql",
            Self::Constraint { .. } => "db.constraint",
            Self::Refused { .. } => "db.refused",
            Self::Timeout { .. } => "db.timeout",
            Self::Conflict { .. } => "db.conflict",
            Self::TooManyRows { .. } => "db.too_many_rows",
            Self::TooManyBytes { .. } => "db.too_many_bytes",
            Self::BadStatement { .. } => "db.statement",
            Self::BadTransaction { .. } => "db.transaction",
            Self::BadKey { .. } => "state.key",
            Self::BadTtl { .. } => "state.ttl",
            Self::ValueTooLarge { .. } => "state.too_large",
            Self::TooManyKeys { .. } => "state.too_many_keys",
            Self::Locked { .. } => "state.locked",
            Self::LeaseLost { .. } => "state.lease_lost",
            Self::BadJob { .. } => "job.invalid",
            Self::LedgerMalformed { .. } => "ledger.malformed",
            Self::LedgerMoved { .. } => "ledger.moved",
            Self::Internal(_) => "store.internal",
        }
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Conflict { .. } | Self::Locked { .. }
        )
    }
}
