//! Identifiers. Each is its own type, so that a hook name can never stand where a plugin name is
//! meant, and each says which rule a text broke.
//!
//! All are cheap to clone: the text is shared.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not an identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} {rule}")]
pub struct NameError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

impl NameError {
    /// The stable code of this error, for example `name.plugin.invalid`.
    ///
    /// ```
    /// let error = kodex_plugin::PluginName::new("Bad Name").unwrap_err();
    /// assert_eq!(error.code(), "name.plugin.invalid");
    /// ```
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.kind {
            "plugin name" => "name.plugin.invalid",
            "hook name" => "name.hook.invalid",
            "tool name" => "name.tool.invalid",
            _ => "name.capability.invalid",
        }
    }

    /// The rule that was broken, as the end of a sentence.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and takes it.
            ///
            /// # Errors
            /// [`NameError`] says which rule the text breaks.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
                let text = text.into();
                match $check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(rule) => Err(NameError { kind: $kind, text: text.to_string(), rule }),
                }
            }

            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "minLength": 1 })
            }
        }
    };
}

name!(
    /// The only identity of a plugin: `^[a-z][a-z0-9-]*$`, at most 64 bytes, no `--`, no `-` at
    /// the end.
    ///
    /// ```
    /// use kodex_plugin::PluginName;
    /// assert!(PluginName::new("context-enricher").is_ok());
    /// assert!(PluginName::new("Context_Enricher").is_err());
    /// ```
    PluginName,
    "plugin name",
    check_plugin
);
name!(
    /// The name of a hook, such as `prompt.submit`: 1 to 256 bytes without control characters.
    ///
    /// Names that Kodex does not know are allowed; such a hook collects every reply.
    HookName,
    "hook name",
    check_hook
);
name!(
    /// A tool's name inside its plugin: `^[a-zA-Z_][a-zA-Z0-9_-]*$`, at most 64 bytes.
    ToolName,
    "tool name",
    check_tool
);
name!(
    /// Something a plugin offers, used for routing: 1 to 256 bytes, no control character, no
    /// blank at either end.
    CapabilityName,
    "capability",
    check_capability
);

impl PluginName {
    /// A name in the form that plugins without a manifest file may have: any text of 1 to 256
    /// bytes without control characters or blanks at the ends. The caller records a diagnostic
    /// when [`PluginName::is_canonical`] is false.
    ///
    /// # Errors
    /// [`NameError`] when the text is blank, too long or has control characters.
    pub fn lenient(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        match check_capability(&text) {
            Ok(()) => Ok(Self(text)),
            Err(rule) => Err(NameError {
                kind: "plugin name",
                text: text.to_string(),
                rule,
            }),
        }
    }

    /// Whether the name follows the strict rule of [`PluginName::new`].
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        check_plugin(&self.0).is_ok()
    }
}

const PLUGIN_NAME_MAX: usize = 64;
const TOOL_NAME_MAX: usize = 64;
const FREE_NAME_MAX: usize = 256;

/// Names that the runtime itself uses as owner of state and of ledger lines.
const RESERVED: &[&str] = &[
    "kodex", "host", "core", "runtime", "session", "shared", "self",
];

fn check_plugin(text: &str) -> Result<(), &'static str> {
    let mut bytes = text.bytes();
    if !bytes.next().is_some_and(|b| b.is_ascii_lowercase()) {
        return Err("must start with a letter a to z");
    }
    if !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("may hold only a to z, 0 to 9 and '-'");
    }
    if text.ends_with('-') || text.contains("--") {
        return Err("may neither end in '-' nor hold '--'");
    }
    if text.len() > PLUGIN_NAME_MAX {
        return Err("may have at most 64 characters");
    }
    if RESERVED.contains(&text) {
        return Err("is reserved for Kodex itself");
    }
    Ok(())
}

fn check_free(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("must not be empty");
    }
    if text.len() > FREE_NAME_MAX {
        return Err("may have at most 256 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters");
    }
    Ok(())
}

fn check_hook(text: &str) -> Result<(), &'static str> {
    check_free(text)
}

fn check_capability(text: &str) -> Result<(), &'static str> {
    check_free(text)?;
    if text.trim() != text {
        return Err("must not start or end with a blank");
    }
    Ok(())
}

fn check_tool(text: &str) -> Result<(), &'static str> {
    let mut bytes = text.bytes();
    if !bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
    {
        return Err("must start with a letter or '_'");
    }
    if !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err("may hold only letters, digits, '_' and '-'");
    }
    if text.len() > TOOL_NAME_MAX {
        return Err("may have at most 64 characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugin_names_follow_the_rule() {
        for (text, rule) in [
            ("a", None),
            ("context-enricher", None),
            ("x9", None),
            ("", Some("start")),
            ("9x", Some("start")),
            ("Upper", Some("start")),
            ("under_score", Some("only")),
            ("dot.ted", Some("only")),
            ("tail-", Some("neither")),
            ("two--dashes", Some("neither")),
            ("kodex", Some("reserved")),
            (&"a".repeat(65), Some("64")),
        ] {
            match (PluginName::new(text), rule) {
                (Ok(_), None) => {}
                (Err(error), Some(word)) => assert!(error.to_string().contains(word), "{error}"),
                (got, want) => panic!("{text:?}: got {got:?}, want {want:?}"),
            }
        }
    }

    #[test]
    fn lenient_names_are_kept_but_marked() {
        let name = PluginName::lenient("My Plugin").expect("a lenient name");
        assert!(!name.is_canonical());
        assert!(PluginName::lenient("").is_err());
        assert!(PluginName::lenient("a\nb").is_err());
    }
}
