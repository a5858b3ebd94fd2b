//! Permissions that are asked for, and why.

use std::collections::HashSet;

use super::{Index, Key, Path, Rules, code};
use crate::{
    Diagnostic, Permission,
    manifest::{PermissionRequest, raw::RawPermission},
};

/// A reason is shown on one line beside the author's name.
const REASON_MAX: usize = 160;

impl Rules<'_> {
    pub(super) fn permissions(&mut self, raw: Vec<RawPermission>) -> Vec<PermissionRequest> {
        let mut requests = Vec::with_capacity(raw.len());
        let mut seen = HashSet::new();
        for (n, one) in raw.into_iter().enumerate() {
            let Some(request) = self.permission(n, one) else {
                continue;
            };
            if seen.insert(request.allow.to_string()) {
                requests.push(request);
            } else {
                self.report.warning(
                    &[Key("permission"), Index(n), Key("allow")],
                    code::PERMISSION_DUPLICATE,
                    format!("the permission `{}` is asked for twice", request.allow),
                    "remove one of them",
                );
            }
        }
        requests
    }

    fn permission(&mut self, n: usize, raw: RawPermission) -> Option<PermissionRequest> {
        let reason = self.reason(n, &raw);
        let at = [Key("permission"), Index(n), Key("allow")];
        match raw.allow.parse::<Permission>() {
            Ok(allow) => Some(PermissionRequest { allow, reason }),
            Err(problem) => {
                let hint = problem
                    .hint()
                    .unwrap_or("write a permission as the reference has it, such as \"clock\"");
                let finding =
                    Diagnostic::error(problem.code(), problem.to_string()).with_hint(hint);
                self.report
                    .add_part(&at, &raw.allow, problem.span(), finding);
                None
            }
        }
    }

    /// The reason as it may be shown: one line, not too long, without characters that hide or
    /// reorder text.
    fn reason(&mut self, n: usize, raw: &RawPermission) -> String {
        let at = [Key("permission"), Index(n), Key("reason")];
        let cleaned = clean(&raw.reason);
        if cleaned.is_empty() {
            let finding = Diagnostic::note(
                code::REASON_MISSING,
                format!("`{}` is asked for without a reason", raw.allow),
            )
            .with_hint("add: reason = \"...\"; it is shown to whoever decides");
            self.report.add(&at, None, finding);
        } else if cleaned != raw.reason.trim() {
            self.report.warning(
                &at,
                code::REASON_CLEANED,
                format!("`{}` was cut or cleaned before it is shown", Path(&at)),
                format!("write one line of at most {REASON_MAX} plain characters"),
            );
        }
        cleaned
    }
}

fn clean(text: &str) -> String {
    let visible = |c: &char| !hides(*c);
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = one_line.chars().filter(visible).take(REASON_MAX).collect();
    cut.trim().to_owned()
}

/// Characters that are not seen, or that change the order in which others are seen.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn reasons_are_one_visible_line() {
        for (text, want) in [
            (" reads  the sources\n", "reads the sources"),
            ("a\u{202e}b\u{200b}c\u{7}", "abc"),
            ("\u{202e}\n", ""),
            (&"x".repeat(200), &"x".repeat(160)),
        ] {
            assert_eq!(clean(text), want);
        }
    }
}
