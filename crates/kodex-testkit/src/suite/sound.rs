//! Calls that overlap, and calls that nobody waits for any more: neither may hurt another call.

use std::{
    pin::Pin,
    sync::Barrier,
    task::{Context, Waker},
    thread,
};

use kodex_plugin::{Call, Json, Manifest, RequestKind};

use super::{
    Run,
    probe::{Probe, step, within},
};
use crate::{call::request, capture};

/// As many as the runtime lets into one plugin at once when nobody says otherwise.
const AT_ONCE: usize = 4;

impl Run<'_> {
    /// Only a name that answers alone can tell anything about answering together.
    pub(super) fn sane_names(&self, declared: &Manifest) -> Vec<(RequestKind, String)> {
        let hooks = declared
            .hooks
            .iter()
            .filter(|hook| !hook.is_catch_all())
            .map(|hook| (RequestKind::Hook, hook.on.to_string()));
        let tools = declared
            .tools
            .iter()
            .map(|tool| (RequestKind::Tool, tool.name.to_string()));
        hooks
            .chain(tools)
            .filter(|(kind, name)| matches!(self.ask(*kind, name, &Json::object()), Probe::Done(_)))
            .collect()
    }

    pub(super) fn calls_may_overlap(&mut self, names: &[(RequestKind, String)]) {
        for (kind, name) in names {
            let (how, said) = match self.at_once(*kind, name) {
                Probe::Done(()) => continue,
                Probe::Panicked(message) => ("panicked", format!("panicked: {message}")),
                Probe::Stuck => ("stuck", "did not all end".to_owned()),
            };
            let word = kind.as_str();
            self.error(
                &format!("suite.concurrent.{how}"),
                format!("{AT_ONCE} calls of {word} {name:?} at once {said}"),
                "share state through a lock that is not held while waiting",
            );
        }
    }

    fn at_once(&self, kind: RequestKind, name: &str) -> Probe<()> {
        let (limit, name) = (self.suite.limit, name.to_owned());
        step(self.plugin, limit, move |plugin| {
            let start = Barrier::new(AT_ONCE);
            let one = || {
                start.wait();
                let payload = Json::object();
                capture(|| within(plugin.call(request(kind, &name, &payload)), limit).map(drop))
            };
            let ends = thread::scope(|scope| {
                let calls: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(one)).collect();
                let end = |call: thread::ScopedJoinHandle<'_, _>| call.join().ok();
                calls.into_iter().map(end).collect::<Vec<_>>()
            });
            for end in ends.into_iter().flatten() {
                match end {
                    Ok(Some(())) => {}
                    Ok(None) => return None,
                    // Raised again, so that the step reports it as the panic that it was.
                    Err(panicked) => panic!("{panicked}"),
                }
            }
            Some(())
        })
    }

    /// The host drops a call at its deadline. What the plugin was doing then must not keep it from
    /// answering the next.
    pub(super) fn calls_may_be_dropped(&mut self, names: &[(RequestKind, String)]) {
        for (kind, name) in names {
            let Some(harm) = self.harm_of_dropping(*kind, name) else {
                continue;
            };
            self.error(
                "suite.cancel.broken",
                format!(
                    "dropping calls of {} {name:?} half-way {harm}",
                    kind.as_str()
                ),
                "release locks and places with guards, which a dropped future also runs",
            );
        }
    }

    fn harm_of_dropping(&self, kind: RequestKind, name: &str) -> Option<String> {
        match self.dropped(kind, name) {
            Probe::Done(true) => {}
            // It answered at once: there was nothing to drop.
            Probe::Done(false) => return None,
            Probe::Panicked(message) => return Some(format!("panicked: {message}")),
            Probe::Stuck => return Some("did not end".into()),
        }
        match self.ask(kind, name, &Json::object()) {
            Probe::Done(_) => None,
            Probe::Panicked(message) => Some(format!("made the next one panic: {message}")),
            Probe::Stuck => Some("left the next one without an answer".into()),
        }
    }

    /// Starts calls, lets each come to its first wait, and drops it; whether there was one. As many
    /// as may run at once, so that a place that is not given back is missed.
    fn dropped(&self, kind: RequestKind, name: &str) -> Probe<bool> {
        let name = name.to_owned();
        step(self.plugin, self.suite.limit, move |plugin| {
            let payload = Json::object();
            let mut waited = false;
            for _ in 0..AT_ONCE {
                if let Call::Pending(mut future) = plugin.call(request(kind, &name, &payload)) {
                    let mut poller = Context::from_waker(Waker::noop());
                    waited |= Pin::new(&mut future).poll(&mut poller).is_pending();
                }
            }
            Some(waited)
        })
    }
}
