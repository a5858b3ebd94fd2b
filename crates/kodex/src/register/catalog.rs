//! The catalog: an immutable index of loaded plugins, hooks, tools and capabilities.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use kodex_plugin::{
    CapabilityName, HookName, HookSpec, NameError, PluginName, Tool, hook, tool::model_name,
};

use super::{Cell, Slot, lock, order::Rank};
use crate::{dispatch::tool::ToolEntry, settings::GuardSettings};

/// Everything that dispatch needs to know, never changed after it was built.
#[derive(Default)]
pub(crate) struct Catalog {
    /// In discovery order.
    pub(crate) slots: Vec<Arc<Slot>>,
    routes: HashMap<HookName, Arc<Route>>,
    /// Routes of hooks that no plugin names, kept from their first event on.
    unnamed: Mutex<HashMap<HookName, Arc<Route>>>,
    pub(crate) capabilities: BTreeMap<CapabilityName, Vec<PluginName>>,
    /// By the name under which a model sees them.
    pub(crate) tools: BTreeMap<String, Arc<ToolEntry>>,
}

/// A bound on kept routes of hooks that no plugin names: more than any host has hooks, and few enough
/// that invented names cannot fill the memory. A route beyond it is built for each event.
const MAX_UNNAMED: usize = 128;

/// The subscribers of one hook, in order.
pub(crate) struct Route {
    pub(crate) hook: HookName,
    pub(crate) spec: &'static HookSpec,
    pub(crate) subscribers: Vec<Subscriber>,
}

/// One plugin on one hook.
pub(crate) struct Subscriber {
    pub(crate) slot: Arc<Slot>,
    pub(crate) cell: Arc<Cell>,
    pub(crate) timeout: Duration,
    /// A success that took longer is slow for the breaker.
    pub(crate) slow_after: Duration,
    pub(crate) priority: i32,
    /// A failure stops the chain.
    pub(crate) required: bool,
    /// Subscribed by `*`, not by the hook's name.
    pub(crate) catch_all: bool,
}

impl Catalog {
    /// Builds the index over slots in discovery order.
    pub(crate) fn new(slots: Vec<Arc<Slot>>, guard: &GuardSettings) -> Self {
        let mut catalog = Self {
            slots,
            ..Self::default()
        };
        let mut names: Vec<HookName> = Vec::new();
        for slot in &catalog.slots {
            for name in &slot.manifest.capabilities {
                catalog
                    .capabilities
                    .entry(name.clone())
                    .or_default()
                    .push(slot.name.clone());
            }
            for tool in &slot.manifest.tools {
                let entry = ToolEntry::new(slot.clone(), tool.clone(), guard);
                catalog
                    .tools
                    .insert(model_name(&slot.name, &tool.name), Arc::new(entry));
            }
            for wish in &slot.manifest.hooks {
                if !wish.is_catch_all() {
                    names.push(wish.on.clone());
                }
            }
        }
        names.sort();
        names.dedup();
        for name in names {
            let route = catalog.build_route(&name, guard);
            catalog.routes.insert(name, Arc::new(route));
        }
        catalog
    }

    /// The subscribers of a hook, in order.
    pub(crate) fn route(&self, hook: &str, guard: &GuardSettings) -> Result<Arc<Route>, NameError> {
        if let Some(route) = self.routes.get(hook) {
            return Ok(route.clone());
        }
        if let Some(route) = lock(&self.unnamed).get(hook) {
            return Ok(route.clone());
        }
        let name = HookName::new(hook)?;
        let route = Arc::new(self.build_route(&name, guard));
        let mut unnamed = lock(&self.unnamed);
        if unnamed.len() < MAX_UNNAMED {
            unnamed.insert(name, route.clone());
        }
        Ok(route)
    }

    pub(crate) fn slot(&self, name: &str) -> Option<&Arc<Slot>> {
        self.slots.iter().find(|slot| slot.name.as_str() == name)
    }

    /// A tool by the model's name for it, or by `plugin/tool`.
    pub(crate) fn tool(&self, name: &str) -> Option<&Arc<ToolEntry>> {
        self.tools.get(name).or_else(|| {
            let (plugin, tool) = name.split_once('/')?;
            self.tools
                .values()
                .find(|e| e.slot.name.as_str() == plugin && e.tool.name.as_str() == tool)
        })
    }

    /// All tools: the model's name, the plugin, the declaration.
    pub(crate) fn tools(&self) -> impl Iterator<Item = (&str, &PluginName, &Tool)> {
        self.tools
            .iter()
            .map(|(name, entry)| (name.as_str(), &entry.slot.name, &entry.tool))
    }

    fn build_route(&self, name: &HookName, guard: &GuardSettings) -> Route {
        let spec = hook::spec(name.as_str());
        let mut ranked: Vec<(Rank, Subscriber)> = Vec::new();
        for (discovered, slot) in self.slots.iter().enumerate() {
            let exact = slot.manifest.hooks.iter().find(|wish| wish.on == *name);
            let wish = exact.or_else(|| slot.manifest.hooks.iter().find(|w| w.is_catch_all()));
            let Some(wish) = wish else { continue };
            let priority = slot.settings.priority.unwrap_or(wish.priority);
            let rank = match exact {
                Some(_) => Rank::named(priority, slot.name.as_str()),
                None => Rank::catch_all(priority, discovered),
            };
            let timeout = slot
                .settings
                .timeout
                .or(wish.timeout)
                .unwrap_or(spec.timeout);
            ranked.push((
                rank,
                Subscriber {
                    slot: slot.clone(),
                    cell: slot.cell(name.as_str(), guard),
                    timeout,
                    slow_after: timeout.mul_f64(guard.breaker.slow_after),
                    priority,
                    required: wish.required,
                    catch_all: exact.is_none(),
                },
            ));
        }
        ranked.sort_by(|a, b| a.0.cmp(&b.0));
        let subscribers = ranked
            .into_iter()
            .map(|(_, subscriber)| subscriber)
            .collect();
        Route {
            hook: name.clone(),
            spec,
            subscribers,
        }
    }
}
