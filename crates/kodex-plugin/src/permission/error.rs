//! Why a text is no permission: the rule it breaks, where, and what to write instead.
//!
//! Every rule has one stable code. Scripts and tests look at the code; the message and the hint are
//! for people. Parsing functions return a [`Fault`], which knows a place; the door adds the text.

use std::{fmt, ops::Range};

use super::show::show;

macro_rules! rules {
    ($($name:ident = $code:literal, $meaning:literal;)+) => {
        /// The rule that a text breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $meaning] $name,)+
        }

        impl Rule {
            /// Every rule, sorted by its code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }

        /// The stable codes of permission errors, sorted, with what each means.
        pub const CODES: &[(&str, &str)] = &[$(($code, $meaning),)+];
    };
}

rules! {
    AccessCombined = "permission.access.combined", "The accesses have different targets and need one permission each.";
    AccessMissing = "permission.access.missing", "The scope needs an access, such as `read`.";
    AccessUnexpected = "permission.access.unexpected", "The scope has no accesses.";
    AccessUnknown = "permission.access.unknown", "The scope has no such access.";
    ConstraintDuplicate = "permission.constraint.duplicate", "A constraint is said twice.";
    ConstraintUnfit = "permission.constraint.unfit", "The constraint binds none of the accesses asked for.";
    ConstraintUnknown = "permission.constraint.unknown", "The scope has no such constraint.";
    ConstraintValue = "permission.constraint.value", "The value does not fit the constraint, or is zero.";
    EnvName = "permission.env.name", "The text is no name of an environment variable.";
    EnvWildcard = "permission.env.wildcard", "A wildcard would cover every environment variable; it needs a prefix that ends in `_`.";
    HostBrackets = "permission.host.brackets", "An IPv6 address stands without brackets, or the brackets hold something else.";
    HostCharacter = "permission.host.character", "A character stands in the host that no host name has.";
    HostEncoded = "permission.host.encoded", "The host has a percent code or a zone.";
    HostIpSpelling = "permission.host.ip_spelling", "The address is spelled in a way that programs read differently.";
    HostLabel = "permission.host.label", "A label of the host is empty, too long, or has a dash at its end.";
    HostLoopback = "permission.host.loopback", "A plugin can listen on this machine only.";
    HostNetwork = "permission.host.network", "The prefix is out of range, or the address has bits beyond it.";
    HostTrailingDot = "permission.host.trailing_dot", "The host ends in a dot.";
    HostUrl = "permission.host.url", "A URL stands where a host belongs.";
    HostUser = "permission.host.user", "A user name stands before the host.";
    HostWildcard = "permission.host.wildcard", "The `*` is not the first label above at least two others.";
    PathDot = "permission.path.dot", "A segment of the path is `.`.";
    PathEmptySegment = "permission.path.empty_segment", "A segment of the path is empty: two slashes in a row, or one at the end.";
    PathParent = "permission.path.parent", "A segment of the path is `..`.";
    PathRelative = "permission.path.relative", "The path starts neither with a variable nor with `/`.";
    PathRoot = "permission.path.root", "The path covers the root of the file system.";
    PatternBraces = "permission.pattern.braces", "Braces are empty, nested, hold a wildcard, or are not a whole segment.";
    PatternCharacter = "permission.pattern.character", "A character must be quoted, or cannot stand in a name at all.";
    PatternTooLong = "permission.pattern.too_long", "There are more than 63 segments or 64 alternatives, or a file name has more than 255 bytes.";
    PatternWildcard = "permission.pattern.wildcard", "A `*` stands inside a longer name.";
    PortMissing = "permission.port.missing", "Listening needs a port.";
    PortRange = "permission.port.range", "A port is not from 1 to 65535, or a range runs backwards.";
    ScopeUnknown = "permission.scope.unknown", "The scope does not exist.";
    TargetInvalid = "permission.target.invalid", "The target does not have the form that the scope demands.";
    TargetMissing = "permission.target.missing", "The target is missing.";
    TargetUnexpected = "permission.target.unexpected", "Something stands where no target belongs.";
    TextControl = "permission.text.control", "The text holds a control character, a tab, a newline or NUL.";
    TextEmpty = "permission.text.empty", "There is no text.";
    TextEscape = "permission.text.escape", "An escape inside quotes does not exist.";
    TextInvisible = "permission.text.invisible", "The text holds a character that nobody sees, outside an escape.";
    TextTooLong = "permission.text.too_long", "The text is longer than 4096 bytes.";
    TextUnclosed = "permission.text.unclosed", "A quote, bracket or brace is never closed.";
    VariablePlace = "permission.variable.place", "A variable stands elsewhere than at the start of a path.";
    VariableUnknown = "permission.variable.unknown", "The variable does not exist.";
    VariableUnset = "permission.variable.unset", "The variable has no value here.";
    VariableValue = "permission.variable.value", "The value of a variable is no clean absolute path.";
}

/// A broken rule and its place, before the whole text is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    rule: Rule,
    span: Range<usize>,
    message: String,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(rule: Rule, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            rule,
            span,
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean" where a known word is close, and the known words otherwise.
    #[must_use]
    pub(super) fn with_known(self, word: &str, known: &[&str]) -> Self {
        match closest(word, known) {
            Some(near) => self.with_hint(format!("did you mean `{near}`?")),
            None => self.with_hint(format!("known are {}", listed(known))),
        }
    }

    pub(super) fn in_text(mut self, text: &str) -> PermissionError {
        self.message = show(&self.message).text;
        PermissionError {
            text: show(text).text,
            fault: self,
        }
    }
}

/// Why a text is no permission.
///
/// ```
/// use kodex_plugin::Permission;
/// let error = "fs:reed ${project}/src/**".parse::<Permission>().unwrap_err();
/// assert_eq!(error.code(), "permission.access.unknown");
/// assert_eq!(error.span(), 3..7);
/// assert_eq!(error.hint(), Some("did you mean `read`?"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionError {
    // Already escaped and shortened, so that the error can be printed anywhere.
    text: String,
    fault: Fault,
}

impl PermissionError {
    /// The stable code, such as `permission.scope.unknown`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.fault.rule.code()
    }

    /// The rule that is broken.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.fault.rule
    }

    /// The bytes of the text that break it. Never outside the text, and never inside a character.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.fault.span.clone()
    }

    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.fault.hint.as_deref()
    }

    /// What is wrong, without the text it is wrong in.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.fault.message
    }
}

impl fmt::Display for PermissionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permission `{}`: {}", self.text, self.fault.message)
    }
}

impl std::error::Error for PermissionError {}

/// The known word that the author probably meant.
fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&word, known), *known))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, known)| known)
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}
