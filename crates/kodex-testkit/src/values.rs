//! The values and locks of one plugin in memory: the services `state/*` with a host's rules and
//! limits, so that a plugin's tests need no store.
//!
//! Time is handed in, so that a test decides when a value or a lease is over. Nothing is kept on disk,
//! and no two plugins share one.

use std::{collections::BTreeMap, ops::Bound};

use kodex_plugin::{
    HostError, Json,
    wire::store::{
        StateDelete, StateGet, StateKey, StateKeys, StateLease, StateList, StateLock, StateRenew,
        StateSet, StateUnlock, StateUnlocked, StateValue, StateWritten, method,
    },
};
use serde::{Serialize, de::DeserializeOwned};

/// The bounds that a store keeps; see the reference of the services.
const KEY_CHARS: usize = 512;
const VALUE_BYTES: usize = 256 << 10;
const N_KEYS: usize = 100_000;
const MAX_TTL_MS: u64 = 10 * 366 * 24 * 3_600_000;
const MAX_LEASE_MS: u64 = 24 * 3_600_000;
const PAGE: usize = 1_000;

/// What one plugin keeps.
#[derive(Debug, Default)]
pub(crate) struct Values {
    kept: BTreeMap<String, Kept>,
    /// Leases stay after their end, so that tokens rise.
    leases: BTreeMap<String, StateLease>,
    last_version: u64,
}

#[derive(Debug)]
struct Kept {
    value: Json,
    version: u64,
    expires_at_ms: Option<u64>,
}

impl Values {
    /// Answers one method of the family; none when it is another.
    pub(crate) fn serve(
        &mut self,
        method: &str,
        params: &Json,
        now_ms: u64,
    ) -> Option<Result<Json, HostError>> {
        Some(match method {
            method::STATE_GET => answer(method, params, |asked| self.get(asked, now_ms)),
            method::STATE_SET => answer(method, params, |asked| self.set(asked, now_ms)),
            method::STATE_DELETE => answer(method, params, |asked| self.delete(asked, now_ms)),
            method::STATE_LIST => answer(method, params, |asked| Ok(self.list(&asked, now_ms))),
            method::STATE_LOCK => answer(method, params, |asked| self.lock(asked, now_ms)),
            method::STATE_RENEW => answer(method, params, |asked| self.renew(&asked, now_ms)),
            method::STATE_UNLOCK => answer(method, params, |asked| Ok(self.unlock(&asked, now_ms))),
            _ => return None,
        })
    }

    fn get(&self, StateGet { key }: StateGet, now_ms: u64) -> Result<StateValue, HostError> {
        check_key(&key)?;
        let found = self.living(&key, now_ms);
        Ok(found.map_or_else(StateValue::default, |kept| StateValue {
            value: Some(kept.value.clone()),
            version: Some(kept.version),
            expires_at_ms: kept.expires_at_ms,
        }))
    }

    fn set(&mut self, set: StateSet, now_ms: u64) -> Result<StateWritten, HostError> {
        check_key(&set.key)?;
        let bytes = set.value.text().len();
        if bytes > VALUE_BYTES {
            let text = format!(
                "the value of {:?} has {bytes} bytes; at most {VALUE_BYTES} are allowed",
                set.key
            );
            return Err(HostError::new("state.too_large", text));
        }
        if let Some(ttl_ms) = set.ttl_ms {
            check_ttl(ttl_ms, MAX_TTL_MS)?;
        }
        let present = self.conflict(&set.key, set.if_version, set.under.as_ref(), now_ms)?;
        if let Some(version) = present {
            return Ok(not_done(version));
        }
        self.kept.retain(|_, kept| kept.lives(now_ms));
        if self.kept.len() >= N_KEYS && !self.kept.contains_key(&set.key) {
            let text =
                format!("the plugin holds {N_KEYS} keys, the most there may be; delete some");
            return Err(HostError::new("state.too_many_keys", text));
        }
        self.last_version += 1;
        let kept = Kept {
            value: set.value,
            version: self.last_version,
            expires_at_ms: set.ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms)),
        };
        self.kept.insert(set.key, kept);
        Ok(done(self.last_version))
    }

    fn delete(&mut self, delete: StateDelete, now_ms: u64) -> Result<StateWritten, HostError> {
        let StateDelete {
            key,
            if_version,
            under,
        } = delete;
        check_key(&key)?;
        if let Some(version) = self.conflict(&key, if_version, under.as_ref(), now_ms)? {
            return Ok(not_done(version));
        }
        let removed = self.kept.remove(&key).filter(|kept| kept.lives(now_ms));
        Ok(done(removed.map_or(0, |kept| kept.version)))
    }

    fn list(&self, list: &StateList, now_ms: u64) -> StateKeys {
        let limit = list.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let from = list
            .after
            .as_ref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<StateKey> = self
            .kept
            .range::<String, _>((from, Bound::Unbounded))
            .filter(|(key, kept)| key.starts_with(&list.prefix) && kept.lives(now_ms))
            .take(limit)
            .map(|(key, kept)| StateKey {
                key: key.clone(),
                version: kept.version,
                bytes: kept.value.text().len() as u64,
                expires_at_ms: kept.expires_at_ms,
            })
            .collect();
        let last = keys.last().filter(|_| keys.len() == limit);
        StateKeys {
            after: last.map(|last| last.key.clone()),
            keys,
        }
    }

    fn lock(
        &mut self,
        StateLock { key, ttl_ms }: StateLock,
        now_ms: u64,
    ) -> Result<StateLease, HostError> {
        check_key(&key)?;
        check_ttl(ttl_ms, MAX_LEASE_MS)?;
        let before = self.leases.get(&key);
        if before.is_some_and(|lease| lease.until_ms > now_ms) {
            let text = format!("the lock {key:?} is held");
            return Err(HostError::new("state.locked", text));
        }
        let token = before.map_or(0, |lease| lease.token) + 1;
        Ok(self.hold(key, token, now_ms.saturating_add(ttl_ms)))
    }

    fn renew(&mut self, renew: &StateRenew, now_ms: u64) -> Result<StateLease, HostError> {
        check_ttl(renew.ttl_ms, MAX_LEASE_MS)?;
        self.check_held(&renew.lease, now_ms)?;
        let StateLease { key, token, .. } = renew.lease.clone();
        Ok(self.hold(key, token, now_ms.saturating_add(renew.ttl_ms)))
    }

    fn unlock(&mut self, StateUnlock { lease }: &StateUnlock, now_ms: u64) -> StateUnlocked {
        let held = self.is_held(lease, now_ms);
        if held {
            self.hold(lease.key.clone(), lease.token, 0);
        }
        StateUnlocked { held }
    }

    fn hold(&mut self, key: String, token: u64, until_ms: u64) -> StateLease {
        let lease = StateLease {
            key,
            token,
            until_ms,
        };
        self.leases.insert(lease.key.clone(), lease.clone());
        lease
    }

    fn is_held(&self, lease: &StateLease, now_ms: u64) -> bool {
        let own = self.leases.get(&lease.key);
        own.is_some_and(|own| own.token == lease.token && own.until_ms > now_ms)
    }

    fn check_held(&self, lease: &StateLease, now_ms: u64) -> Result<(), HostError> {
        if self.is_held(lease, now_ms) {
            return Ok(());
        }
        let text = format!(
            "the lock {:?} is no longer held under this token; nothing was changed",
            lease.key
        );
        Err(HostError::new("state.lease_lost", text))
    }

    /// The version that keeps a write from happening, if any.
    fn conflict(
        &self,
        key: &str,
        if_version: Option<u64>,
        under: Option<&StateLease>,
        now_ms: u64,
    ) -> Result<Option<u64>, HostError> {
        if let Some(lease) = under {
            self.check_held(lease, now_ms)?;
        }
        let version = self.living(key, now_ms).map_or(0, |kept| kept.version);
        Ok(if_version
            .filter(|wanted| *wanted != version)
            .map(|_| version))
    }

    fn living(&self, key: &str, now_ms: u64) -> Option<&Kept> {
        self.kept.get(key).filter(|kept| kept.lives(now_ms))
    }
}

impl Kept {
    fn lives(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
    }
}

fn done(version: u64) -> StateWritten {
    StateWritten {
        done: true,
        version,
    }
}

fn not_done(version: u64) -> StateWritten {
    StateWritten {
        done: false,
        version,
    }
}

/// Reads the parameters and writes the result of one method.
pub(crate) fn answer<P: DeserializeOwned, R: Serialize>(
    method: &str,
    params: &Json,
    work: impl FnOnce(P) -> Result<R, HostError>,
) -> Result<Json, HostError> {
    let misfit = |error| HostError::new("params.invalid", format!("{method}: {error}"));
    let result = work(params.to().map_err(misfit)?)?;
    Json::of(&result).map_err(misfit)
}

fn check_key(key: &str) -> Result<(), HostError> {
    let problem = if key.trim().is_empty() {
        "is blank"
    } else if key.chars().count() > KEY_CHARS {
        "is longer than 512 characters"
    } else if key.contains('\0') {
        "holds a NUL character"
    } else {
        return Ok(());
    };
    let start: String = key.chars().take(40).collect();
    let text = format!("the state key {start:?} {problem}");
    Err(HostError::new("state.key", text))
}

fn check_ttl(ttl_ms: u64, limit_ms: u64) -> Result<(), HostError> {
    if (1..=limit_ms).contains(&ttl_ms) {
        return Ok(());
    }
    let text = format!("a time of {ttl_ms} ms is out of bounds; 1 to {limit_ms} are allowed");
    Err(HostError::new("state.ttl", text))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Runs requests at points in time; each answers as said, or fails with the code.
    fn check(exchanges: &[(u64, &str, Value, Result<Value, &str>)]) {
        let mut values = Values::default();
        for (now_ms, method, params, want) in exchanges {
            let params = Json::from(params.clone());
            let got = values.serve(&format!("state/{method}"), &params, *now_ms);
            let got = got.expect("a method of the family");
            assert_eq!(
                got.map(Json::into_value).map_err(|error| error.code),
                want.clone().map_err(str::to_owned),
                "{method} {params:?} at {now_ms}"
            );
        }
    }

    #[test]
    fn values_have_versions_that_never_return() {
        check(&[
            (1, "get", json!({"key": "k"}), Ok(json!({}))),
            (
                1,
                "set",
                json!({"key": "k", "value": null}),
                Ok(json!({"done": true, "version": 1})),
            ),
            (
                1,
                "get",
                json!({"key": "k"}),
                Ok(json!({"value": null, "version": 1})),
            ),
            (
                1,
                "set",
                json!({"key": "k", "value": 2, "if_version": 0}),
                Ok(json!({"done": false, "version": 1})),
            ),
            (
                1,
                "set",
                json!({"key": "k", "value": 2, "if_version": 1}),
                Ok(json!({"done": true, "version": 2})),
            ),
            (
                1,
                "delete",
                json!({"key": "k", "if_version": 1}),
                Ok(json!({"done": false, "version": 2})),
            ),
            (
                1,
                "delete",
                json!({"key": "k"}),
                Ok(json!({"done": true, "version": 2})),
            ),
            (
                1,
                "delete",
                json!({"key": "k"}),
                Ok(json!({"done": true, "version": 0})),
            ),
            (
                1,
                "set",
                json!({"key": "k", "value": 3, "if_version": 0}),
                Ok(json!({"done": true, "version": 3})),
            ),
        ]);
    }

    #[test]
    fn values_live_for_their_time() {
        let listed = json!({"keys": [{"key": "k", "version": 1, "bytes": 3, "expires_at_ms": 15}]});
        check(&[
            (
                5,
                "set",
                json!({"key": "k", "value": "a", "ttl_ms": 10}),
                Ok(json!({"done": true, "version": 1})),
            ),
            (14, "list", json!({}), Ok(listed)),
            (15, "get", json!({"key": "k"}), Ok(json!({}))),
            (15, "list", json!({}), Ok(json!({"keys": []}))),
            (
                15,
                "set",
                json!({"key": "k", "value": 1, "if_version": 0}),
                Ok(json!({"done": true, "version": 2})),
            ),
            (
                15,
                "set",
                json!({"key": "k", "value": 1, "ttl_ms": 0}),
                Err("state.ttl"),
            ),
        ]);
    }

    #[test]
    fn keys_are_listed_in_pages() {
        let mut exchanges: Vec<_> = ["b", "a/2", "a/1", "a/3"]
            .iter()
            .zip(1..)
            .map(|(key, version)| {
                let want = json!({"done": true, "version": version});
                (1, "set", json!({"key": key, "value": 0}), Ok(want))
            })
            .collect();
        let key = |key: &str, version: u64| json!({"key": key, "version": version, "bytes": 1});
        let first = json!({"keys": [key("a/1", 3), key("a/2", 2)], "after": "a/2"});
        let asked = json!({"prefix": "a/", "limit": 2});
        exchanges.push((1, "list", asked, Ok(first)));
        let asked = json!({"prefix": "a/", "limit": 2, "after": "a/2"});
        exchanges.push((1, "list", asked, Ok(json!({"keys": [key("a/3", 4)]}))));
        check(&exchanges);
    }

    #[test]
    fn a_write_under_a_lost_lease_is_refused() {
        let lease =
            |token: u64, until_ms: u64| json!({"key": "l", "token": token, "until_ms": until_ms});
        let set = |lease: &Value| json!({"key": "k", "value": 1, "under": lease});
        check(&[
            (
                1,
                "lock",
                json!({"key": "l", "ttl_ms": 10}),
                Ok(lease(1, 11)),
            ),
            (
                2,
                "lock",
                json!({"key": "l", "ttl_ms": 10}),
                Err("state.locked"),
            ),
            (
                2,
                "set",
                set(&lease(1, 11)),
                Ok(json!({"done": true, "version": 1})),
            ),
            (
                5,
                "renew",
                json!({"lease": lease(1, 11), "ttl_ms": 10}),
                Ok(lease(1, 15)),
            ),
            (
                14,
                "set",
                set(&lease(1, 11)),
                Ok(json!({"done": true, "version": 2})),
            ),
            (15, "set", set(&lease(1, 15)), Err("state.lease_lost")),
            (
                15,
                "delete",
                json!({"key": "k", "under": lease(1, 15)}),
                Err("state.lease_lost"),
            ),
            (
                15,
                "renew",
                json!({"lease": lease(1, 15), "ttl_ms": 10}),
                Err("state.lease_lost"),
            ),
            (
                15,
                "lock",
                json!({"key": "l", "ttl_ms": 10}),
                Ok(lease(2, 25)),
            ),
            (
                16,
                "unlock",
                json!({"lease": lease(1, 15)}),
                Ok(json!({"held": false})),
            ),
            (
                16,
                "unlock",
                json!({"lease": lease(2, 25)}),
                Ok(json!({"held": true})),
            ),
            (
                16,
                "lock",
                json!({"key": "l", "ttl_ms": 10}),
                Ok(lease(3, 26)),
            ),
        ]);
    }

    #[test]
    fn limits_are_those_of_a_store() {
        check(&[
            (1, "get", json!({"key": " "}), Err("state.key")),
            (1, "get", json!({"key": "k".repeat(513)}), Err("state.key")),
            (1, "get", json!({"key": "a\0"}), Err("state.key")),
            (
                1,
                "set",
                json!({"key": "ü".repeat(512), "value": "x".repeat(VALUE_BYTES - 2)}),
                Ok(json!({"done": true, "version": 1})),
            ),
            (
                1,
                "set",
                json!({"key": "k", "value": "x".repeat(VALUE_BYTES - 1)}),
                Err("state.too_large"),
            ),
            (
                1,
                "lock",
                json!({"key": "k", "ttl_ms": MAX_LEASE_MS + 1}),
                Err("state.ttl"),
            ),
            (1, "set", json!({"key": "k"}), Err("params.invalid")),
        ]);
        let mut values = Values::default();
        assert!(values.serve("state/fetch", &Json::object(), 1).is_none());
    }
}
