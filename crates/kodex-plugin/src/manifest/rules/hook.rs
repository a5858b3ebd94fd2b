//! Subscriptions.

use super::{Index, Key, Path, Rules, Seen, code};
use crate::{
    Combine, Diagnostic, HookName, hook,
    manifest::{Subscription, raw::RawHook},
};

impl Rules<'_> {
    pub(super) fn hooks(&mut self, raw: Vec<RawHook>) -> Vec<Subscription> {
        let mut hooks = Vec::with_capacity(raw.len());
        let mut seen = Seen::new();
        for (n, one) in raw.into_iter().enumerate() {
            let Some(hook) = self.hook(n, one) else {
                continue;
            };
            if seen.insert(hook.on.clone()) {
                hooks.push(hook);
            } else {
                self.report.error(
                    &[Key("hook"), Index(n), Key("on")],
                    code::HOOK_DUPLICATE,
                    format!("the plugin subscribes to {:?} twice", hook.on.as_str()),
                    "keep one [[hook]] and do both things in its answer",
                );
            }
        }
        hooks
    }

    fn hook(&mut self, n: usize, raw: RawHook) -> Option<Subscription> {
        let timeout_at = [Key("hook"), Index(n), Key("timeout")];
        let timeout = self.timeout(&timeout_at, raw.timeout.as_deref());
        let on = self.hook_name(n, &raw.on)?;
        let subscription = Subscription {
            priority: raw.priority,
            required: raw.required,
            timeout,
            on,
        };
        if subscription.is_catch_all() {
            return Some(subscription);
        }
        let spec = hook::known(subscription.on.as_str());
        if spec.is_none() {
            self.close_name(n, subscription.on.as_str());
        }
        if raw.required && spec.is_none_or(|spec| spec.combine != Combine::Chain) {
            self.required_elsewhere(n, subscription.on.as_str());
        }
        Some(subscription)
    }

    fn hook_name(&mut self, n: usize, text: &str) -> Option<HookName> {
        HookName::new(text)
            .inspect_err(|problem| {
                self.report.error(
                    &[Key("hook"), Index(n), Key("on")],
                    code::NAME_HOOK,
                    problem.to_string(),
                    "write the name of a hook, such as \"prompt.submit\", or \"*\" for all",
                );
            })
            .ok()
    }

    fn close_name(&mut self, n: usize, name: &str) {
        if let Some(known) = hook::suggest(name) {
            let finding = Diagnostic::note(
                code::HOOK_CLOSE,
                format!("the hook {name:?} is not one that Kodex knows; it collects every reply"),
            )
            .with_hint(format!("did you mean \"{known}\"?"));
            self.report
                .add(&[Key("hook"), Index(n), Key("on")], None, finding);
        }
    }

    fn required_elsewhere(&mut self, n: usize, name: &str) {
        let at = [Key("hook"), Index(n), Key("required")];
        self.report.warning(
            &at,
            code::HOOK_REQUIRED,
            format!(
                "`{}` has no effect: {name:?} is not a chain hook",
                Path(&at)
            ),
            "remove it; only in a chain can a failure stop what follows",
        );
    }
}
