//! Why a text is no permission: the rule it breaks, where, and what to write instead.
//!
//! Every rule has one stable code. Scripts and tests look at the code; the message and the hint are
//! for people. Parsing functions return a [`Fault`], which knows a place; the door adds the text.

use std::{fmt, ops::Range};

use super::show::show;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// The rule that a text breaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// Every rule, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }
        }
    };
}

rules! {
    /// There is no text.
    TextEmpty = "permission.text.empty",
    /// The text is longer than 4096 bytes.
    TextTooLong = "permission.text.too_long",
    /// A control character, a tab, a newline or NUL.
    TextControl = "permission.text.control",
    /// A character that nobody sees, such as a bidirectional mark, outside an escape.
    TextInvisible = "permission.text.invisible",
    /// A quote, bracket or brace is never closed.
    TextUnclosed = "permission.text.unclosed",
    /// An escape inside quotes that does not exist.
    TextEscape = "permission.text.escape",
    /// The scope does not exist.
    ScopeUnknown = "permission.scope.unknown",
    /// The scope has no such access.
    AccessUnknown = "permission.access.unknown",
    /// The scope needs an access.
    AccessMissing = "permission.access.missing",
    /// The scope has no accesses.
    AccessUnexpected = "permission.access.unexpected",
    /// These accesses have different targets and need a permission each.
    AccessCombined = "permission.access.combined",
    /// The target is missing.
    TargetMissing = "permission.target.missing",
    /// Something stands where no target belongs.
    TargetUnexpected = "permission.target.unexpected",
    /// The target has not the form that the scope demands.
    TargetInvalid = "permission.target.invalid",
    /// A `*` that is not a whole segment, token or name part.
    PatternWildcard = "permission.pattern.wildcard",
    /// A character that must be quoted or cannot stand here.
    PatternCharacter = "permission.pattern.character",
    /// Braces that are empty, nested or not a whole segment.
    PatternBraces = "permission.pattern.braces",
    /// More than 63 segments or tokens, 64 alternatives, or a name of more than 255 bytes.
    PatternTooLong = "permission.pattern.too_long",
    /// A segment `..`.
    PathParent = "permission.path.parent",
    /// A segment `.`.
    PathDot = "permission.path.dot",
    /// Two slashes in a row or a slash at the end.
    PathEmptySegment = "permission.path.empty_segment",
    /// The path starts neither with a variable nor with `/`.
    PathRelative = "permission.path.relative",
    /// The path covers the root of the file system.
    PathRoot = "permission.path.root",
    /// The variable does not exist.
    VariableUnknown = "permission.variable.unknown",
    /// A variable that is not at the start of the path.
    VariablePlace = "permission.variable.place",
    /// The variable has no value here.
    VariableUnset = "permission.variable.unset",
    /// The value of a variable is no clean absolute path.
    VariableValue = "permission.variable.value",
    /// A URL where a host belongs.
    HostUrl = "permission.host.url",
    /// A user name before the host.
    HostUser = "permission.host.user",
    /// A percent-encoded host.
    HostEncoded = "permission.host.encoded",
    /// A character that no host name has.
    HostCharacter = "permission.host.character",
    /// An empty or overlong label, or one with a dash at its end.
    HostLabel = "permission.host.label",
    /// A dot after the last label.
    HostTrailingDot = "permission.host.trailing_dot",
    /// An IP address in a spelling that programs read differently.
    HostIpSpelling = "permission.host.ip_spelling",
    /// A wildcard that is not the first label above at least two others.
    HostWildcard = "permission.host.wildcard",
    /// An IPv6 address without brackets, or brackets around something else.
    HostBrackets = "permission.host.brackets",
    /// A network whose prefix is out of range or whose address has bits beyond it.
    HostNetwork = "permission.host.network",
    /// Listening on something that others can reach.
    HostLoopback = "permission.host.loopback",
    /// A port outside 1 to 65535, or a range that runs backwards.
    PortRange = "permission.port.range",
    /// Listening without saying on which port.
    PortMissing = "permission.port.missing",
    /// A wildcard for every environment variable.
    EnvWildcard = "permission.env.wildcard",
    /// A name that is no environment variable's.
    EnvName = "permission.env.name",
    /// The scope has no such constraint.
    ConstraintUnknown = "permission.constraint.unknown",
    /// The same constraint twice.
    ConstraintDuplicate = "permission.constraint.duplicate",
    /// The constraint binds none of the accesses asked for.
    ConstraintUnfit = "permission.constraint.unfit",
    /// The value does not fit the constraint.
    ConstraintValue = "permission.constraint.value",
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
