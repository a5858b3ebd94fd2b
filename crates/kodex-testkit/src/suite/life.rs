//! Activation, health and the end.

use kodex_plugin::PluginError;

use super::{
    Run,
    probe::{Probe, step, within},
};

impl Run<'_> {
    /// Whether the plugin may be called at all.
    pub(super) fn activates(&mut self) -> bool {
        let outcome = self.activate();
        let hint = "give the suite the configuration and the host that the plugin needs";
        match outcome {
            Probe::Done(Ok(())) => return true,
            Probe::Done(Err(error)) => self.error(
                "suite.activate.failed",
                format!("activation failed: {error}"),
                hint,
            ),
            Probe::Panicked(message) => self.error(
                "suite.activate.panicked",
                format!("activation panicked: {message}"),
                "return an error instead",
            ),
            Probe::Stuck => self.error(
                "suite.activate.stuck",
                format!("activation did not end within {:?}", self.suite.limit),
                hint,
            ),
        }
        false
    }

    /// The host activates once; a second time must at worst be refused.
    pub(super) fn activation_may_repeat(&mut self) {
        let said = match self.activate() {
            Probe::Done(_) => return,
            Probe::Panicked(message) => format!("panicked: {message}"),
            Probe::Stuck => "did not end".to_owned(),
        };
        self.warning(
            "suite.activate.repeat",
            format!("a second activation {said}"),
            "accept it or return an error",
        );
    }

    pub(super) fn health_is_told(&mut self) {
        let said = match step(self.plugin, self.suite.limit, |plugin| {
            Some(plugin.health())
        }) {
            Probe::Done(_) => return,
            Probe::Panicked(message) => format!("panicked: {message}"),
            Probe::Stuck => "blocked".to_owned(),
        };
        self.error(
            "suite.health.failed",
            format!("the question for health {said}"),
            "answer from what is known, without waiting",
        );
    }

    pub(super) fn ends(&mut self) {
        let limit = self.suite.limit;
        let said = match step(self.plugin, limit, move |plugin| {
            within(plugin.deactivate(), limit)
        }) {
            Probe::Done(Ok(())) => return,
            Probe::Done(Err(error)) => format!("failed: {error}"),
            Probe::Panicked(message) => format!("panicked: {message}"),
            Probe::Stuck => format!("did not end within {limit:?}"),
        };
        self.error(
            "suite.deactivate.failed",
            format!("deactivation {said}"),
            "let go of what the plugin holds and return",
        );
    }

    fn activate(&self) -> Probe<Result<(), PluginError>> {
        let limit = self.suite.limit;
        let name = self.plugin.manifest().name.clone();
        let context = self.suite.host.context(name, self.suite.config.clone());
        step(self.plugin, limit, move |plugin| {
            within(plugin.activate(context), limit)
        })
    }
}
