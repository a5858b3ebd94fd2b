//! The service `state/*`: a plugin's own small values.

use std::sync::Arc;

use kodex_plugin::{
    HostError, Json, PluginName,
    wire::store::{
        StateDelete, StateGet, StateKey, StateKeys, StateLease, StateList, StateLock, StateRenew,
        StateSet, StateUnlock, StateUnlocked, StateWritten, method,
    },
};
use kodex_store::{
    Store,
    state::{Lease, OnlyIf, PAGE, Write, Written},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{read, refused, written};

/// The values of one plugin.
pub(super) struct Values {
    plugin: PluginName,
    store: Arc<dyn Store>,
}

/// A value as it stands in the store, passed on without being read.
#[derive(Default, Serialize)]
struct Found<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<u64>,
}

impl Values {
    pub(super) fn new(plugin: PluginName, store: Arc<dyn Store>) -> Self {
        Self { plugin, store }
    }

    pub(super) async fn serve(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        match method {
            method::STATE_GET => self.get(read(method, params)?).await,
            method::STATE_SET => self.set(read(method, params)?).await,
            method::STATE_DELETE => self.delete(read(method, params)?).await,
            method::STATE_LIST => self.list(read(method, params)?).await,
            method::STATE_LOCK => self.lock(read(method, params)?).await,
            method::STATE_RENEW => self.renew(read(method, params)?).await,
            method::STATE_UNLOCK => self.unlock(read(method, params)?).await,
            unknown => Err(HostError::unknown_method(unknown)),
        }
    }

    async fn get(&self, StateGet { key }: StateGet) -> Result<Json, HostError> {
        let found = self
            .store
            .state()
            .read(&self.plugin, &key)
            .await
            .map_err(refused)?;
        let found = found.as_ref().map_or_else(Found::default, |entry| Found {
            value: Some(&entry.value),
            version: Some(entry.version),
            expires_at_ms: entry.expires_at_ms,
        });
        written(&found)
    }

    async fn set(&self, set: StateSet) -> Result<Json, HostError> {
        self.write(
            &set.key,
            Some(&set.value),
            set.ttl_ms,
            set.if_version,
            set.under,
        )
        .await
    }

    async fn delete(&self, delete: StateDelete) -> Result<Json, HostError> {
        self.write(&delete.key, None, None, delete.if_version, delete.under)
            .await
    }

    async fn write(
        &self,
        key: &str,
        value: Option<&Json>,
        ttl_ms: Option<u64>,
        if_version: Option<u64>,
        under: Option<StateLease>,
    ) -> Result<Json, HostError> {
        let under = under.map(lease);
        let write = Write {
            key,
            value: value.map(Json::raw),
            ttl_ms,
            only_if: match if_version {
                None => OnlyIf::Always,
                Some(0) => OnlyIf::Absent,
                Some(version) => OnlyIf::Version(version),
            },
            under: under.as_ref(),
        };
        let (done, version) = match self
            .store
            .state()
            .write(&self.plugin, &write)
            .await
            .map_err(refused)?
        {
            Written::Done { version } => (true, version),
            Written::Refused { version } => (false, version),
        };
        written(&StateWritten { done, version })
    }

    async fn list(&self, list: StateList) -> Result<Json, HostError> {
        let limit = list.limit.unwrap_or(PAGE).clamp(1, PAGE);
        let state = self.store.state();
        let keys = state
            .list(&self.plugin, &list.prefix, list.after.as_deref(), limit)
            .await
            .map_err(refused)?;
        let after = (keys.len() == limit)
            .then(|| keys.last().map(|last| last.key.clone()))
            .flatten();
        let keys = keys.into_iter().map(|found| StateKey {
            key: found.key,
            version: found.version,
            bytes: found.bytes,
            expires_at_ms: found.expires_at_ms,
        });
        written(&StateKeys {
            keys: keys.collect(),
            after,
        })
    }

    async fn lock(&self, StateLock { key, ttl_ms }: StateLock) -> Result<Json, HostError> {
        let taken = self.store.state().lock(&self.plugin, &key, ttl_ms).await;
        written(&shown(taken.map_err(refused)?))
    }

    async fn renew(
        &self,
        StateRenew {
            lease: held,
            ttl_ms,
        }: StateRenew,
    ) -> Result<Json, HostError> {
        let held = lease(held);
        let renewed = self.store.state().renew(&self.plugin, &held, ttl_ms).await;
        written(&shown(renewed.map_err(refused)?))
    }

    async fn unlock(&self, StateUnlock { lease: held }: StateUnlock) -> Result<Json, HostError> {
        let held = lease(held);
        let held = self
            .store
            .state()
            .unlock(&self.plugin, &held)
            .await
            .map_err(refused)?;
        written(&StateUnlocked { held })
    }
}

fn lease(
    StateLease {
        key,
        token,
        until_ms,
    }: StateLease,
) -> Lease {
    Lease {
        key,
        token,
        until_ms,
    }
}

fn shown(
    Lease {
        key,
        token,
        until_ms,
    }: Lease,
) -> StateLease {
    StateLease {
        key,
        token,
        until_ms,
    }
}
