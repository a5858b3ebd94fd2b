//! The typed door: an [`Outcome`] read with the types of its hook.

use std::marker::PhantomData;

use kodex_plugin::{Hook, PluginName};

use super::{Folded, Outcome, Ruling};

/// The outcome of a typed hook.
pub struct Typed<H: Hook> {
    outcome: Outcome,
    hook: PhantomData<fn() -> H>,
}

impl<H: Hook> std::fmt::Debug for Typed<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.outcome.fmt(f)
    }
}

impl<H: Hook> Typed<H> {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            hook: PhantomData,
        }
    }

    /// The uniform outcome, with every entry and failure.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The replies that have the hook's form, each with its plugin. A reply of another form is
    /// passed over here; it stands in [`Typed::outcome`].
    pub fn replies(&self) -> impl Iterator<Item = (&PluginName, H::Reply)> {
        self.outcome
            .replies()
            .filter_map(|(plugin, json)| Some((plugin, json.to().ok()?)))
    }

    /// Chain: the payload after the last plugin. Nothing for other modes, and nothing when the
    /// chain was stopped or its end no longer has the payload's form.
    #[must_use]
    pub fn payload(&self) -> Option<H::Payload> {
        match &self.outcome.folded {
            Folded::Payload(json) => json.to().ok(),
            _ => None,
        }
    }

    /// First: the reply that won.
    #[must_use]
    pub fn won(&self) -> Option<(&PluginName, H::Reply)> {
        match &self.outcome.folded {
            Folded::Won(plugin, json) => Some((plugin, json.to().ok()?)),
            _ => None,
        }
    }

    /// What the plugins decided; see [`Outcome::ruling`].
    #[must_use]
    pub fn ruling(&self) -> Ruling {
        self.outcome.ruling()
    }
}
