//! The runtime: one catalog at a time, and the operations of an embedder on it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kodex_plugin::{
    Clock, Failure, Hook, Json, Manifest, PluginError, Tool, hook::Report, tool::Caller,
};
use kodex_store::Store;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument as _;

use crate::{
    dispatch::{
        self, DispatchError, DispatchOptions, Outcome, Override, ToolError, Typed,
        contain::contained,
    },
    host::reading,
    load::{self, LoadError, Plan},
    observe::{self, Doctor, Explanation, PluginMetrics, Record},
    register::{Catalog, Slot, lock},
    settings::GuardSettings,
    tasks::Tasks,
    upgrade,
    work::Works,
};

/// What the stages share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) guard: GuardSettings,
    pub(crate) places: Semaphore,
    pub(crate) tasks: Tasks,
    /// Where plugins keep what they own; none for a runtime that offers no database and no state.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) works: Arc<Works>,
    pub(crate) n_transitions: AtomicU64,
    pub(crate) n_gates_unavailable: AtomicU64,
}

/// How long an event or a tool call waits for its turn when too many are under way.
const ENTER_TIMEOUT: Duration = Duration::from_secs(30);

impl Shared {
    /// Takes one of the places for events and tool calls that run at the same time. Native plugins
    /// that answer at once rarely meet the bound; it limits what a host has under way when workers
    /// are slow.
    pub(crate) async fn enter(&self) -> Result<SemaphorePermit<'_>, PluginError> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        match tokio::time::timeout(ENTER_TIMEOUT, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                let text = format!(
                    "{} events and tool calls are under way",
                    self.guard.concurrency
                );
                Err(PluginError::new(
                    Failure::RejectedLimit,
                    "limit.host_busy",
                    text,
                ))
            }
        }
    }
}

/// A plugin runtime. Cloning it is cheap and gives another handle on the same runtime.
///
/// Call [`Runtime::shutdown`] before dropping the last handle to let plugins end well; dropping it
/// without ends their processes all the same.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    plan: Plan,
    current: RwLock<Arc<Current>>,
    /// Only one reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

/// One start or reload: its catalog and its ledger.
pub(crate) struct Current {
    pub(crate) catalog: Catalog,
    pub(crate) records: Arc<Vec<Record>>,
    pub(crate) absent: Vec<load::Absent>,
    pub(crate) diagnostics: Vec<kodex_plugin::Diagnostic>,
    pub(crate) generation: u64,
}

/// What a reload changed, by plugin name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reloaded {
    /// New in the catalog.
    pub added: Vec<String>,
    /// Replaced because their files, settings or manifest changed.
    pub changed: Vec<String>,
    /// No longer in the catalog.
    pub removed: Vec<String>,
}

impl Reloaded {
    /// Whether the catalog stayed as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// How long plugins that left the catalog may take to finish their calls and to stop.
const RETIRE_GRACE: Duration = Duration::from_secs(10);

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("plugins", &self.current().catalog.slots.len())
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Starts to describe a runtime.
    #[must_use]
    pub fn builder() -> crate::Builder {
        crate::Builder::default()
    }

    pub(crate) async fn start(shared: Arc<Shared>, plan: Plan) -> Result<Self, LoadError> {
        if shared.store.is_some() && !plan.one_shot {
            shared.tasks.spawn(sweep(Arc::downgrade(&shared)));
        }
        let loaded = load::load(&shared, &plan, &[]).await?;
        let current = Current {
            catalog: Catalog::new(loaded.slots, &shared.guard),
            records: Arc::new(loaded.records),
            absent: loaded.absent,
            diagnostics: loaded.diagnostics,
            generation: 1,
        };
        databases(&shared, &plan, &current).await?;
        let inner = Inner {
            shared,
            plan,
            current: RwLock::new(Arc::new(current)),
            reloading: tokio::sync::Mutex::new(()),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Dispatches a hook by name, as its spec says. Unknown names collect every reply.
    ///
    /// # Errors
    /// [`DispatchError`] when the name is no hook name. Failures of plugins stand in the outcome.
    pub async fn emit(&self, hook: &str, payload: Json) -> Result<Outcome, DispatchError> {
        self.emit_with(hook, payload, &DispatchOptions::default())
            .await
    }

    /// Dispatches a hook by name with options.
    ///
    /// # Errors
    /// [`DispatchError`] for a bad name, and with fail-fast for the first failure of a plugin.
    pub async fn emit_with(
        &self,
        hook: &str,
        payload: Json,
        options: &DispatchOptions,
    ) -> Result<Outcome, DispatchError> {
        let current = self.current();
        let route = current.catalog.route(hook, &self.inner.shared.guard)?;
        let span = tracing::debug_span!("dispatch", hook);
        let dispatched = dispatch::dispatch(&self.inner.shared, &route, payload, options);
        // Whoever asks for reports, they only look.
        if route.hook.as_str() == Report::NAME {
            return reading::only(dispatched.instrument(span)).await;
        }
        dispatched.instrument(span).await
    }

    /// Dispatches a typed hook: [`Runtime::emit`] with the types of its [`Hook`].
    ///
    /// # Errors
    /// [`DispatchError`] when the payload cannot be written as JSON.
    pub async fn dispatch<H: Hook>(&self, payload: &H::Payload) -> Result<Typed<H>, DispatchError> {
        let payload = Json::of(payload).map_err(|error| DispatchError::Payload {
            hook: H::NAME,
            text: error.to_string(),
        })?;
        Ok(Typed::new(self.emit(H::NAME, payload).await?))
    }

    /// The plugins that offer a capability, in discovery order.
    #[must_use]
    pub fn route(&self, capability: &str) -> Vec<String> {
        let current = self.current();
        let names = current.catalog.capabilities.get(capability);
        names
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect()
    }

    /// Every capability and who offers it.
    #[must_use]
    pub fn capabilities(&self) -> BTreeMap<String, Vec<String>> {
        let current = self.current();
        let names = |plugins: &[kodex_plugin::PluginName]| {
            plugins.iter().map(ToString::to_string).collect()
        };
        current
            .catalog
            .capabilities
            .iter()
            .map(|(cap, by)| (cap.to_string(), names(by)))
            .collect()
    }

    /// The manifests of the catalog, in discovery order.
    #[must_use]
    pub fn manifests(&self) -> Vec<Arc<Manifest>> {
        self.current()
            .catalog
            .slots
            .iter()
            .map(|slot| slot.manifest.clone())
            .collect()
    }

    /// Every tool: the name for the model, the plugin's name and the declaration.
    #[must_use]
    pub fn tools(&self) -> Vec<(String, String, Tool)> {
        let current = self.current();
        let row = |(name, plugin, tool): (&str, &kodex_plugin::PluginName, &Tool)| {
            (name.to_owned(), plugin.to_string(), tool.clone())
        };
        current.catalog.tools().map(row).collect()
    }

    /// The tools that a caller may be offered: without one, those that act for no conversation.
    #[must_use]
    pub fn tools_for(&self, caller: Option<&Caller>) -> Vec<(String, String, Tool)> {
        let mut tools = self.tools();
        tools.retain(|(_, _, tool)| caller.is_some() || !tool.needs_caller);
        tools
    }

    /// Calls a tool by the model's name for it or by `plugin/tool`.
    ///
    /// # Errors
    /// [`ToolError`] says whether the input, the output, the tool or the plugin was at fault.
    pub async fn call_tool(&self, name: &str, input: &Json) -> Result<Json, ToolError> {
        self.call_tool_as(name, input, None).await
    }

    /// As [`Runtime::call_tool`], for a caller whom the host knows: tools that act for a conversation need one.
    ///
    /// # Errors
    /// As [`Runtime::call_tool`].
    pub async fn call_tool_as<'c>(
        &self,
        name: &str,
        input: &Json,
        caller: impl Into<Option<&'c Caller>>,
    ) -> Result<Json, ToolError> {
        let caller = caller.into();
        let current = self.current();
        match current.catalog.tool(name) {
            Some(entry) => dispatch::tool::call(&self.inner.shared, entry, input, caller).await,
            None => Err(ToolError::Unknown {
                name: name.to_owned(),
                similar: kodex_plugin::suggest::closest(
                    name,
                    current.catalog.tools.keys().map(String::as_str),
                )
                .map(str::to_owned),
            }),
        }
    }

    /// The load ledger of the last start or reload.
    #[must_use]
    pub fn ledger(&self) -> Arc<Vec<Record>> {
        self.current().records.clone()
    }

    /// What is wrong and what to do about it.
    #[must_use]
    pub fn doctor(&self) -> Doctor {
        observe::doctor(&self.inner.shared, &self.current(), &self.inner.plan)
    }

    /// Why each plugin does or does not answer a hook.
    ///
    /// # Errors
    /// [`DispatchError::BadHook`] when the name is no hook name.
    pub fn explain(&self, hook: &str) -> Result<Explanation, DispatchError> {
        observe::explain(&self.inner.shared, &self.current(), hook)
    }

    /// Counters, latencies and breaker states by plugin.
    #[must_use]
    pub fn metrics(&self) -> Vec<PluginMetrics> {
        observe::metrics(&self.inner.shared, &self.current())
    }

    /// Sets the breakers of a plugin by hand until a moment, or takes the setting back with `None`.
    /// Returns whether there is such a plugin.
    pub fn set_breakers(&self, plugin: &str, by_hand: Option<Override>) -> bool {
        self.each_cell(plugin, |cell| {
            cell.change(|state| state.breaker.set_by_hand(by_hand))
        })
    }

    /// Closes the breakers of a plugin and forgets what they counted. Returns whether there is such
    /// a plugin.
    pub fn reset_breakers(&self, plugin: &str) -> bool {
        let now = self.inner.shared.clock.now();
        let found = self.each_cell(plugin, |cell| {
            let _ = cell.change(|state| state.breaker.reset(now));
        });
        if let Some(slot) = self.current().catalog.slot(plugin) {
            slot.n_open.store(0, Ordering::Relaxed);
        }
        found
    }

    fn each_cell(&self, plugin: &str, change: impl Fn(&crate::register::Cell)) -> bool {
        let current = self.current();
        let Some(slot) = current.catalog.slot(plugin) else {
            return false;
        };
        slot.cells().iter().for_each(|cell| change(cell));
        true
    }

    /// Looks at all sources again and swaps the catalog. Plugins that did not change keep their
    /// process, breakers and counters; calls in flight end on the plugin they began with.
    ///
    /// # Errors
    /// [`LoadError`] in strict mode; the old catalog then stays.
    pub async fn reload(&self) -> Result<Reloaded, LoadError> {
        let _one = self.inner.reloading.lock().await;
        let old = self.current();
        let loaded = load::load(&self.inner.shared, &self.inner.plan, &old.catalog.slots).await?;
        let report = compare(&old.catalog.slots, &loaded.slots);
        let next = Arc::new(Current {
            catalog: Catalog::new(loaded.slots, &self.inner.shared.guard),
            records: Arc::new(loaded.records),
            absent: loaded.absent,
            diagnostics: loaded.diagnostics,
            generation: old.generation + 1,
        });
        databases(&self.inner.shared, &self.inner.plan, &next).await?;
        *self
            .inner
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner) = next.clone();
        for slot in &old.catalog.slots {
            if !next
                .catalog
                .slots
                .iter()
                .any(|kept| Arc::ptr_eq(kept, slot))
            {
                self.retire(slot.clone());
            }
        }
        Ok(report)
    }

    /// What [`Runtime::reload`] would change; nothing is changed.
    ///
    /// # Errors
    /// As there.
    pub async fn changes(&self) -> Result<Reloaded, LoadError> {
        let _one = self.inner.reloading.lock().await;
        let old = self.current();
        let loaded = load::load(&self.inner.shared, &self.inner.plan, &old.catalog.slots).await?;
        Ok(compare(&old.catalog.slots, &loaded.slots))
    }

    /// Lets calls in flight end, then stops the plugin.
    fn retire(&self, slot: Arc<Slot>) {
        slot.retired.store(true, Ordering::SeqCst);
        self.inner.shared.tasks.spawn(async move {
            let idle = async {
                while slot.in_flight.load(Ordering::Acquire) > 0 {
                    slot.idle.notified().await;
                }
            };
            let _ = tokio::time::timeout(RETIRE_GRACE, idle).await;
            stop(&slot).await;
        });
    }

    /// Stops every plugin and every task. Calls that still run fail.
    pub async fn shutdown(&self) {
        let current = self.current();
        let mut stops = tokio::task::JoinSet::new();
        // Most plugins of a listing were never started; for them there is no task.
        for slot in current.catalog.slots.iter().filter(|slot| slot.is_active()) {
            let slot = slot.clone();
            stops.spawn(async move { stop(&slot).await });
        }
        while stops.join_next().await.is_some() {}
        self.inner
            .shared
            .tasks
            .finish(Duration::from_millis(100))
            .await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.inner
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Where that is asked for, plugins that cannot have their database fail the start.
async fn databases(shared: &Shared, plan: &Plan, current: &Current) -> Result<(), LoadError> {
    if !plan.require_databases {
        return Ok(());
    }
    let found = upgrade::check(shared, current).await;
    if found.is_empty() {
        Ok(())
    } else {
        Err(LoadError::Database { found })
    }
}

/// How often a runtime that stays removes what has expired from its store.
const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// How much of it at a time, so that no sweep holds up others for long.
pub(crate) const SWEPT_AT_ONCE: usize = 1_000;

/// Removes expired values and leases, until the runtime is gone. They are never returned before either.
async fn sweep(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(store) = shared.upgrade().and_then(|shared| shared.store.clone()) else {
            return;
        };
        match store.state().sweep(SWEPT_AT_ONCE).await {
            Ok(0) => {}
            Ok(n_swept) => tracing::debug!(n_swept, "removed what had expired"),
            Err(error) => tracing::warn!(code = error.code(), "removing what had expired: {error}"),
        }
    }
}

pub(crate) async fn stop(slot: &Slot) {
    if !slot.is_active() {
        return;
    }
    slot.active.store(false, Ordering::Release);
    *lock(&slot.activation) = crate::register::Activation::Idle;
    deactivate(slot).await;
}

/// Tells a plugin to stop, whoever started it. Nobody can do anything about one that fails to.
pub(crate) async fn deactivate(slot: &Slot) {
    let late = ("call.timeout", "it did not stop");
    let stopped = contained(|| slot.plugin.deactivate(), RETIRE_GRACE, late).await;
    if let Err(error) = stopped {
        tracing::warn!(plugin = %slot.name, code = %error.code, "stopping: {error}");
    }
}

fn compare(old: &[Arc<Slot>], new: &[Arc<Slot>]) -> Reloaded {
    let mut report = Reloaded::default();
    let find =
        |slots: &[Arc<Slot>], name: &str| slots.iter().find(|s| s.name.as_str() == name).cloned();
    for slot in new {
        match find(old, slot.name.as_str()) {
            None => report.added.push(slot.name.to_string()),
            Some(before) if !Arc::ptr_eq(&before, slot) => {
                report.changed.push(slot.name.to_string())
            }
            Some(_) => {}
        }
    }
    for slot in old {
        if find(new, slot.name.as_str()).is_none() {
            report.removed.push(slot.name.to_string());
        }
    }
    report
}
