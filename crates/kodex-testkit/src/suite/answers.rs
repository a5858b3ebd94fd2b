//! What hooks and tools answer: to an empty object, to odd payloads, to the author's samples, and
//! under names that were never declared.

use kodex_plugin::{
    Json, Limits, Manifest, PluginError, Reply, RequestKind, Tool, json, manifest::Subscription,
};

use super::{
    Run, odd,
    probe::{self, Probe},
};

/// A name that no plugin declares.
const UNDECLARED: &str = "suite.undeclared";
/// A tool that no plugin declares.
const UNDECLARED_TOOL: &str = "suite_undeclared";

/// The code with which a worker says that it has no such hook or tool.
const UNKNOWN: &str = "method.unknown";

impl Run<'_> {
    pub(super) fn hook_answers(&mut self, hook: &Subscription) {
        let name = if hook.is_catch_all() {
            UNDECLARED
        } else {
            hook.on.as_str()
        };
        let answers = self.odd_payloads(RequestKind::Hook, name);
        if !answers.is_empty() && answers.iter().all(is_unknown) {
            self.error(
                "suite.hook.missing",
                format!("hook {name:?} is declared, but the plugin does not know it"),
                "answer the hook, or remove it from the manifest",
            );
        }
    }

    pub(super) fn tool_answers(&mut self, tool: &Tool) {
        let name = tool.name.as_str();
        let answers = self.odd_payloads(RequestKind::Tool, name);
        let says_nothing = |answer| is_unknown(answer) || is_silent(answer);
        if !answers.is_empty() && answers.iter().all(says_nothing) {
            self.error(
                "suite.tool.missing",
                format!("tool {name:?} is declared, but nothing answers it"),
                "answer the tool, or remove it from the manifest",
            );
        }
    }

    /// Sends every odd payload and gives the answers; a hook or tool that panics, hangs or floods
    /// is found once, with the first payload that did it.
    fn odd_payloads(&mut self, kind: RequestKind, name: &str) -> Vec<Result<Reply, PluginError>> {
        let mut answers = Vec::new();
        let mut told_panic = false;
        let mut told_size = false;
        for (label, payload) in odd::payloads() {
            match self.ask(kind, name, &payload) {
                Probe::Done(answer) => {
                    let refusal = answer.as_ref().ok().and_then(refused_size);
                    if let Some(refusal) = refusal.filter(|_| !told_size) {
                        told_size = true;
                        self.tell_size(kind, name, label, &refusal);
                    }
                    answers.push(answer);
                }
                Probe::Panicked(message) if !told_panic => {
                    told_panic = true;
                    self.tell_panic(kind, name, label, &message);
                }
                Probe::Panicked(_) => {}
                // Each further wait would cost the whole limit and say the same.
                Probe::Stuck => {
                    self.tell_stuck(kind, name, label);
                    return answers;
                }
            }
        }
        answers
    }

    pub(super) fn samples_are_accepted(&mut self) {
        for sample in &self.suite.samples {
            let (kind, name) = (sample.kind, sample.name.as_str());
            let label = "the author's sample";
            match self.ask(kind, name, &sample.payload) {
                Probe::Done(Ok(reply)) => {
                    if let Some(refusal) = refused_size(&reply) {
                        self.tell_size(kind, name, label, &refusal);
                    }
                }
                Probe::Done(Err(error)) => self.error(
                    &format!("suite.{}.refused", kind.as_str()),
                    format!("{} {name:?} failed on a sample: {error}", kind.as_str()),
                    "accept the payload, or correct the sample",
                ),
                Probe::Panicked(message) => self.tell_panic(kind, name, label, &message),
                Probe::Stuck => self.tell_stuck(kind, name, label),
            }
        }
    }

    pub(super) fn undeclared_names_stay_silent(&mut self, declared: &Manifest) {
        let hooks = declared.hooks.iter().map(|hook| hook.on.as_str());
        let tools = declared.tools.iter().map(|tool| tool.name.as_str());
        let mut names = vec![(RequestKind::Tool, UNDECLARED_TOOL)];
        // A hook's name is no tool and a tool's name is no hook, unless both were declared.
        names.extend(
            hooks
                .filter(|name| {
                    !declared
                        .tools
                        .iter()
                        .any(|tool| tool.name.as_str() == *name)
                })
                .map(|name| (RequestKind::Tool, name)),
        );
        if !declared.is_catch_all() {
            names.push((RequestKind::Hook, UNDECLARED));
            names.extend(
                tools
                    .filter(|name| !declared.hooks.iter().any(|hook| hook.on.as_str() == *name))
                    .map(|name| (RequestKind::Hook, name)),
            );
        }
        for (kind, name) in names {
            let said = match self.ask(kind, name, &Json::object()) {
                Probe::Done(Ok(reply)) => {
                    if is_silent(&Ok(reply)) {
                        continue;
                    }
                    "answered".to_owned()
                }
                // An error is as good as silence: nobody takes it for an answer.
                Probe::Done(Err(_)) => continue,
                Probe::Panicked(message) => format!("panicked ({message})"),
                Probe::Stuck => "never ended".to_owned(),
            };
            let word = kind.as_str();
            self.error(
                &format!("suite.{word}.undeclared"),
                format!("the call of {word} {name:?}, which is not declared, {said}"),
                "look at the kind and the name of the request before answering",
            );
        }
    }

    pub(super) fn ask(
        &self,
        kind: RequestKind,
        name: &str,
        payload: &Json,
    ) -> Probe<Result<Reply, PluginError>> {
        probe::call(self.plugin, self.suite.limit, kind, name, payload)
    }

    fn tell_panic(&mut self, kind: RequestKind, name: &str, label: &str, message: &str) {
        let word = kind.as_str();
        self.error(
            &format!("suite.{word}.panicked"),
            format!("{word} {name:?} panicked on {label}: {message}"),
            "check the payload and return an error instead",
        );
    }

    fn tell_stuck(&mut self, kind: RequestKind, name: &str, label: &str) {
        let (word, limit) = (kind.as_str(), self.suite.limit);
        self.error(
            &format!("suite.{word}.stuck"),
            format!("{word} {name:?} did not answer {label} within {limit:?}"),
            "do not block the calling thread; give up before the deadline",
        );
    }

    fn tell_size(&mut self, kind: RequestKind, name: &str, label: &str, refusal: &str) {
        let word = kind.as_str();
        self.error(
            &format!("suite.{word}.too_large"),
            format!("the reply of {word} {name:?} to {label} would be refused: {refusal}"),
            "bound the reply",
        );
    }
}

fn refused_size(reply: &Reply) -> Option<String> {
    let text = reply.0.as_ref()?.text();
    let refusal = json::check(text.as_bytes(), &Limits::default()).err()?;
    Some(refusal.to_string())
}

fn is_silent(answer: &Result<Reply, PluginError>) -> bool {
    matches!(answer, Ok(Reply(reply)) if reply.as_ref().is_none_or(Json::is_null))
}

fn is_unknown(answer: &Result<Reply, PluginError>) -> bool {
    matches!(answer, Err(error) if error.code == UNKNOWN)
}
