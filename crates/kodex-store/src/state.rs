//! Small values by key, scoped to a plugin.
//!
//! Keys are stored as they are beside the plugin's name, so no key can reach another plugin's
//! values or the store's own, whatever it looks like. Values carry a version that rises with every
//! write; a key that was deleted and written again never returns to an old version.

use kodex_plugin::PluginName;
use serde_json::value::RawValue;

use crate::{StoreError, Work};

/// Longest key, in characters.
pub const KEY_CHARS: usize = 512;
/// Longest value, in bytes of JSON.
pub const VALUE_BYTES: usize = 256 << 10;
/// Most keys that one plugin may hold, expired ones apart.
pub const N_KEYS: u64 = 100_000;
/// Longest time to live: ten years. What shall live longer is set without one.
pub const MAX_TTL_MS: u64 = 10 * 366 * 24 * 3_600_000;
/// Longest lease of a lock: one day.
pub const MAX_LEASE_MS: u64 = 24 * 3_600_000;
/// Most keys in one page of a list.
pub const PAGE: usize = 1_000;

/// The values of all plugins. Every method is atomic; time is the store's clock.
pub trait State: Send + Sync {
    /// The value, unless there is none or it has expired.
    fn read<'a>(&'a self, plugin: &'a PluginName, key: &'a str) -> Work<'a, Option<Entry>>;

    /// Writes or deletes one key if the condition holds.
    fn write<'a>(&'a self, plugin: &'a PluginName, write: &'a Write<'a>) -> Work<'a, Written>;

    /// The keys that begin with `prefix` and come after `after` in byte order; at most `limit`, at most [`PAGE`].
    fn list<'a>(
        &'a self,
        plugin: &'a PluginName,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Work<'a, Vec<Key>>;

    /// Takes a lock for `ttl_ms`. One attempt: a lock that somebody holds is [`StoreError::Locked`].
    fn lock<'a>(&'a self, plugin: &'a PluginName, key: &'a str, ttl_ms: u64) -> Work<'a, Lease>;

    /// Prolongs a lock that is still held under this token. One that has run out is [`StoreError::LeaseLost`].
    fn renew<'a>(
        &'a self,
        plugin: &'a PluginName,
        lease: &'a Lease,
        ttl_ms: u64,
    ) -> Work<'a, Lease>;

    /// Gives a lock back; says whether it was still held under this token.
    fn unlock<'a>(&'a self, plugin: &'a PluginName, lease: &'a Lease) -> Work<'a, bool>;

    /// Removes at most `limit` expired values and leases, of all plugins; says how many.
    fn sweep(&self, limit: usize) -> Work<'_, u64>;
}

/// A value that was read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The JSON text as it was written.
    pub value: Box<RawValue>,
    /// Rises with every write of the key.
    pub version: u64,
    /// When it is gone, in milliseconds since 1970-01-01 UTC.
    pub expires_at_ms: Option<u64>,
}

/// How far the numbers of a plugin's values and locks have come. None is ever given again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The highest version that a value had.
    pub last_version: u64,
    /// The highest fencing token.
    pub last_token: u64,
}

/// What a plugin had in another store, to be kept here as it was there.
#[derive(Debug, Clone, Copy)]
pub struct Adopted<'a> {
    /// Values under their keys, with the versions and ends that they have.
    pub values: &'a [(String, Entry)],
    /// Locks, held or not, with their tokens.
    pub leases: &'a [Lease],
    /// What later versions and tokens must be above.
    pub numbers: Numbers,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub key: String,
    /// The version of its value.
    pub version: u64,
    /// Bytes of its value.
    pub bytes: u64,
    /// When it is gone, in milliseconds since 1970-01-01 UTC.
    pub expires_at_ms: Option<u64>,
}

/// One change of one key.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// The key.
    pub key: &'a str,
    /// The new value as JSON text; none deletes.
    pub value: Option<&'a RawValue>,
    /// How long it lives; none for good.
    pub ttl_ms: Option<u64>,
    /// What must hold for the change to happen.
    pub only_if: OnlyIf,
    /// The lock under which the change is made. If it is no longer held under this token, the change is refused.
    pub under: Option<&'a Lease>,
}

/// The condition of a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnlyIf {
    /// None.
    Always,
    /// The key has no living value.
    Absent,
    /// The living value has this version.
    Version(u64),
}

/// What became of a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It happened. The version is that of the new value; a deletion gives that of the removed one, or 0
    /// when there was none.
    Done {
        /// See above.
        version: u64,
    },
    /// The condition did not hold; nothing changed. The version is the living value's, 0 for none.
    Refused {
        /// See above.
        version: u64,
    },
}

/// A lock that somebody holds for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The lock's key; locks have key space of their own.
    pub key: String,
    /// The fencing token: higher than that of every earlier holder of this lock.
    pub token: u64,
    /// Until when it is held, in milliseconds since 1970-01-01 UTC.
    pub until_ms: u64,
}

/// Refuses what no engine may see: blank or long keys, large values, times to live out of bounds.
///
/// # Errors
/// [`StoreError::BadKey`], [`StoreError::ValueTooLarge`] or [`StoreError::BadTtl`].
pub fn check_write(plugin: &PluginName, write: &Write<'_>) -> Result<(), StoreError> {
    check_key(plugin, write.key)?;
    if let Some(value) = write.value
        && value.get().len() > VALUE_BYTES
    {
        return Err(StoreError::ValueTooLarge {
            plugin: plugin.clone(),
            key: write.key.to_owned(),
            bytes: value.get().len(),
            limit: VALUE_BYTES,
        });
    }
    write
        .ttl_ms
        .map_or(Ok(()), |ttl_ms| check_ttl(plugin, ttl_ms, MAX_TTL_MS))
}

/// Refuses blank and long keys, and those with a NUL, which Postgres cannot store.
///
/// # Errors
/// [`StoreError::BadKey`].
pub fn check_key(plugin: &PluginName, key: &str) -> Result<(), StoreError> {
    let problem = if key.trim().is_empty() {
        "is blank"
    } else if key.chars().count() > KEY_CHARS {
        "is longer than 512 characters"
    } else if key.contains('\0') {
        "holds a NUL character"
    } else {
        return Ok(());
    };
    Err(StoreError::BadKey {
        plugin: plugin.clone(),
        key: key.chars().take(40).collect(),
        problem,
    })
}

/// Refuses a time of zero and one beyond `limit_ms`.
///
/// # Errors
/// [`StoreError::BadTtl`].
pub fn check_ttl(plugin: &PluginName, ttl_ms: u64, limit_ms: u64) -> Result<(), StoreError> {
    if (1..=limit_ms).contains(&ttl_ms) {
        return Ok(());
    }
    Err(StoreError::BadTtl {
        plugin: plugin.clone(),
        ttl_ms,
        limit_ms,
    })
}
