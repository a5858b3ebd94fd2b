//! A plugin's own small values, for plugins in Rust: a thin door over the host services `state/*`.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Context, Host, HostError, Json,
    db::ask,
    wire::store::{
        StateDelete, StateGet, StateKeys, StateLease, StateList, StateLock, StateRenew, StateSet,
        StateUnlock, StateUnlocked, StateValue, StateWritten, method,
    },
};

/// The plugin's values by key. Cloning it is cheap.
///
/// ```
/// use kodex_plugin::{Context, HostError, state::{Set, State}};
///
/// async fn count(context: &Context) -> Result<u64, HostError> {
///     let state = State::of(context);
///     let runs: u64 = state.get("runs").await?.unwrap_or(0) + 1;
///     state.set("runs", &runs).await?;
///     state.set_with("seen", &true, Set { ttl_ms: Some(60_000), ..Set::default() }).await?;
///     Ok(runs)
/// }
/// ```
#[derive(Clone)]
pub struct State {
    host: Arc<dyn Host>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// How a value is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// How long it lives, in milliseconds; none for good.
    pub ttl_ms: Option<u64>,
    /// Only if the value has this version; 0 for no value.
    pub if_version: Option<u64>,
    /// Only while this lock is held.
    pub under: Option<StateLease>,
}

impl State {
    /// The values of the plugin that was activated with this context.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        Self::new(context.host.clone())
    }

    /// The values behind a host.
    #[must_use]
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// The value of a key, unless there is none or it has expired.
    ///
    /// # Errors
    /// [`HostError`] with a code of the families `state.` and `store.`; `host.form` when the value does not have the form of `T`.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, HostError> {
        let value = self.entry(key).await?.value;
        let read = |value: Json| {
            value
                .to()
                .map_err(|error| HostError::new("host.form", format!("{key:?}: {error}")))
        };
        value.map(read).transpose()
    }

    /// The value with its version and expiry; all empty when there is none.
    ///
    /// # Errors
    /// As [`State::get`].
    pub async fn entry(&self, key: &str) -> Result<StateValue, HostError> {
        self.ask(
            method::STATE_GET,
            &StateGet {
                key: key.to_owned(),
            },
        )
        .await
    }

    /// Sets a value for good.
    ///
    /// # Errors
    /// As [`State::get`].
    pub async fn set(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<u64, HostError> {
        Ok(self.set_with(key, value, Set::default()).await?.version)
    }

    /// Sets a value with a time to live, on a condition or under a lock.
    ///
    /// # Errors
    /// As [`State::get`]; `state.lease_lost` when the lock is no longer held. A condition that does not
    /// hold is no error: the answer says that it was not done.
    pub async fn set_with(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
        how: Set,
    ) -> Result<StateWritten, HostError> {
        let value =
            Json::of(value).map_err(|error| HostError::new("host.form", error.to_string()))?;
        let Set {
            ttl_ms,
            if_version,
            under,
        } = how;
        let set = StateSet {
            key: key.to_owned(),
            value,
            ttl_ms,
            if_version,
            under,
        };
        self.ask(method::STATE_SET, &set).await
    }

    /// Sets a value unless there is one; says whether it was set.
    ///
    /// # Errors
    /// As [`State::get`].
    pub async fn set_if_absent(
        &self,
        key: &str,
        value: &(impl Serialize + ?Sized),
        ttl_ms: Option<u64>,
    ) -> Result<bool, HostError> {
        let how = Set {
            ttl_ms,
            if_version: Some(0),
            under: None,
        };
        Ok(self.set_with(key, value, how).await?.done)
    }

    /// Deletes a value; no error when there is none.
    ///
    /// # Errors
    /// As [`State::get`].
    pub async fn delete(&self, key: &str) -> Result<(), HostError> {
        let delete = StateDelete {
            key: key.to_owned(),
            if_version: None,
            under: None,
        };
        let _: StateWritten = self.ask(method::STATE_DELETE, &delete).await?;
        Ok(())
    }

    /// One page of the keys that begin with a prefix.
    ///
    /// # Errors
    /// As [`State::get`].
    pub async fn list(&self, list: &StateList) -> Result<StateKeys, HostError> {
        self.ask(method::STATE_LIST, list).await
    }

    /// Takes a lock for a while: one attempt.
    ///
    /// # Errors
    /// `state.locked` when somebody holds it.
    pub async fn lock(&self, key: &str, ttl_ms: u64) -> Result<StateLease, HostError> {
        self.ask(
            method::STATE_LOCK,
            &StateLock {
                key: key.to_owned(),
                ttl_ms,
            },
        )
        .await
    }

    /// Prolongs a lock.
    ///
    /// # Errors
    /// `state.lease_lost` when it is no longer held.
    pub async fn renew(&self, lease: &StateLease, ttl_ms: u64) -> Result<StateLease, HostError> {
        self.ask(
            method::STATE_RENEW,
            &StateRenew {
                lease: lease.clone(),
                ttl_ms,
            },
        )
        .await
    }

    /// Gives a lock back; says whether it was still held.
    ///
    /// # Errors
    /// As [`State::get`].
    pub async fn unlock(&self, lease: &StateLease) -> Result<bool, HostError> {
        let unlock = StateUnlock {
            lease: lease.clone(),
        };
        let unlocked: StateUnlocked = self.ask(method::STATE_UNLOCK, &unlock).await?;
        Ok(unlocked.held)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<T, HostError> {
        ask(&*self.host, method, params).await
    }
}
