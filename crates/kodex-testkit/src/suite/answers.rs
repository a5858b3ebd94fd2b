//! What hooks and tools answer: to an empty object, to odd payloads, to the author's samples, and
//! under names that were never declared.

use std::collections::BTreeSet;

use kodex_plugin::{Json, Manifest, PluginError, Reply, RequestKind, Tool, manifest::Subscription};

use super::{
    Run, form, odd,
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

    /// Sends every odd payload and gives the answers. Each kind of fault is told once, with the first
    /// payload that showed it.
    fn odd_payloads(&mut self, kind: RequestKind, name: &str) -> Vec<Result<Reply, PluginError>> {
        let mut answers = Vec::new();
        let mut told = BTreeSet::new();
        for (label, payload) in odd::payloads() {
            let probe = self.ask(kind, name, &payload);
            if let Some(fault) = fault(kind, name, &payload, &probe)
                && told.insert(fault.how)
            {
                self.tell(kind, name, label, &fault);
            }
            match probe {
                Probe::Done(answer) => answers.push(answer),
                Probe::Panicked(_) => {}
                // Each further wait would cost the whole limit and say the same.
                Probe::Stuck => break,
            }
        }
        answers
    }

    pub(super) fn samples_are_accepted(&mut self) {
        for sample in &self.suite.samples {
            let (kind, name) = (sample.kind, sample.name.as_str());
            let probe = self.ask(kind, name, &sample.payload);
            if let Some(fault) = fault(kind, name, &sample.payload, &probe) {
                self.tell(kind, name, "the author's sample", &fault);
            }
            if let Probe::Done(Err(error)) = probe {
                let word = kind.as_str();
                self.error(
                    &format!("suite.{word}.refused"),
                    format!("{word} {name:?} failed on a sample: {error}"),
                    "accept the payload, or correct the sample",
                );
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

    fn tell(&mut self, kind: RequestKind, name: &str, label: &str, fault: &Fault) {
        let word = kind.as_str();
        self.error(
            &format!("suite.{word}.{}", fault.how),
            format!("{word} {name:?}, given {label}: {}", fault.message),
            fault.hint,
        );
    }
}

/// What is wrong with one answer.
struct Fault {
    /// The last word of the code.
    how: &'static str,
    message: String,
    hint: &'static str,
}

fn fault(
    kind: RequestKind,
    name: &str,
    payload: &Json,
    probe: &Probe<Result<Reply, PluginError>>,
) -> Option<Fault> {
    let (how, message, hint) = match probe {
        Probe::Panicked(message) => (
            "panicked",
            format!("it panicked: {message}"),
            "check the payload and return an error instead",
        ),
        Probe::Stuck => (
            "stuck",
            "no answer came within the limit".to_owned(),
            "do not block the calling thread; give up before the deadline",
        ),
        // An error is an answer.
        Probe::Done(Err(_)) => return None,
        Probe::Done(Ok(reply)) => {
            if let Some(refusal) = form::size_fault(reply) {
                let message = format!("the host would refuse the reply: {refusal}");
                ("too_large", message, "bound the reply")
            } else if kind == RequestKind::Hook {
                let refusal = form::reply_fault(name, payload, reply)?;
                let message = format!("the reply does not fit the hook: {refusal}");
                (
                    "reply",
                    message,
                    "reply with the type that the hook names, or with nothing",
                )
            } else {
                return None;
            }
        }
    };
    Some(Fault { how, message, hint })
}

fn is_silent(answer: &Result<Reply, PluginError>) -> bool {
    matches!(answer, Ok(Reply(reply)) if reply.as_ref().is_none_or(Json::is_null))
}

fn is_unknown(answer: &Result<Reply, PluginError>) -> bool {
    matches!(answer, Err(error) if error.code == UNKNOWN)
}
