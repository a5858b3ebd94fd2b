//! Hosts: one spelling each, and patterns over them.
//!
//! A host is compared only after it was parsed here. User names, percent codes, trailing dots and
//! whatever else makes one host look like another are refused instead of guessed. No name is resolved: where a name leads is the host's business at connect time.

use std::{fmt, net::IpAddr};

use super::{
    error::{Fault, PermissionError, Rule},
    network::{Network, ipv4, ipv6, network},
    text::{Word, words},
};

const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// A concrete host: a name in lower case, or an address.
///
/// ```
/// use kodex_plugin::permission::Host;
/// let host: Host = "API.Example.com".parse()?;
/// assert_eq!(host.to_string(), "api.example.com");
/// for odd in ["0x7f.1", "2130706433", "example.com.", "user@example.com", "a%2eb"] {
///     assert!(odd.parse::<Host>().is_err());
/// }
/// # Ok::<(), kodex_plugin::permission::PermissionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name.
    Name(String),
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
}

impl std::str::FromStr for Host {
    type Err = PermissionError;

    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let parse = || match words(text)?.as_slice() {
            [word] => match word
                .text
                .strip_prefix('[')
                .and_then(|t| t.strip_suffix(']'))
            {
                Some(inner) => ipv6(word.part(1..1 + inner.len())).map(Self::Address),
                None => host(*word),
            },
            _ => Err(Fault::new(
                Rule::HostCharacter,
                0..text.len(),
                "this is not one host",
            )),
        };
        parse().map_err(|fault: Fault| fault.in_text(text))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A set of hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// `*`: every name. Never an address.
    AnyName,
    /// `*.example.com`: every name below this one, at any depth; not the name itself.
    Below(String),
    /// One name.
    Name(String),
    /// One address or a network.
    Network(Network),
}

impl HostPattern {
    /// Whether it covers the host. A name never matches an address, whatever it resolves to.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::AnyName, Host::Name(_)) => true,
            (Self::Below(parent), Host::Name(name)) => is_below(name, parent),
            (Self::Name(wanted), Host::Name(name)) => wanted == name,
            (Self::Network(network), Host::Address(address)) => network.covers(*address),
            (Self::AnyName | Self::Below(_) | Self::Name(_), Host::Address(_))
            | (Self::Network(_), Host::Name(_)) => false,
        }
    }

    /// Whether it covers every host that `narrower` covers.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::AnyName, Self::AnyName | Self::Below(_) | Self::Name(_)) => true,
            (Self::Below(parent), Self::Below(name)) => name == parent || is_below(name, parent),
            (Self::Below(parent), Self::Name(name)) => is_below(name, parent),
            (Self::Name(wanted), Self::Name(name)) => wanted == name,
            (Self::Network(wide), Self::Network(narrow)) => wide.contains(narrow),
            (Self::AnyName | Self::Below(_) | Self::Name(_), Self::Network(_))
            | (Self::Below(_) | Self::Name(_) | Self::Network(_), Self::AnyName)
            | (Self::Name(_) | Self::Network(_), Self::Below(_))
            | (Self::Network(_), Self::Name(_)) => false,
        }
    }

    /// Why it does not cover a host that people expect it to cover, for explanations.
    #[must_use]
    pub fn mismatch(&self, host: &Host) -> Option<String> {
        if self.matches(host) {
            return None;
        }
        Some(match (self, host) {
            (Self::Below(parent), Host::Name(name)) if parent == name => {
                format!("`{self}` covers the names below `{name}`, not `{name}` itself")
            }
            (Self::AnyName | Self::Below(_) | Self::Name(_), Host::Address(_)) => {
                format!("`{self}` covers names, never an address such as `{host}`")
            }
            _ => format!("`{self}` does not cover `{host}`"),
        })
    }

    /// Whether nobody outside this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost",
            Self::Network(network) => match network.address() {
                IpAddr::V4(address) => address.is_loopback() && network.prefix() >= 8,
                IpAddr::V6(address) => address.is_loopback() && network.prefix() == 128,
            },
            Self::AnyName | Self::Below(_) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyName => f.write_str("*"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Name(name) => f.write_str(name),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

/// Refuses what makes a text look like one host and work as another.
pub(super) fn check_spelling(word: Word<'_>) -> Result<(), Fault> {
    if let Some(at) = word.text.find("://") {
        return Err(word
            .part(0..at + 3)
            .fault(Rule::HostUrl, "a host is wanted, not a URL")
            .with_hint("write `host:port` without scheme and path"));
    }
    if let Some(at) = word.text.find('@') {
        return Err(word
            .part(0..at + 1)
            .fault(Rule::HostUser, "a host has no user name")
            .with_hint("write only what follows the `@`"));
    }
    if let Some(at) = word.text.find('%') {
        return Err(word.part(at..at + 1).fault(
            Rule::HostEncoded,
            "percent codes and zones are not allowed in a host",
        ));
    }
    Ok(())
}

/// A host, a wildcard, an address or a network.
pub(super) fn host_pattern(word: Word<'_>) -> Result<HostPattern, Fault> {
    if word.text == "*" {
        return Ok(HostPattern::AnyName);
    }
    if word.text.starts_with("*.") {
        let Host::Name(parent) = host(word.from(2))? else {
            return Err(word.fault(Rule::HostWildcard, "an address has no names below it"));
        };
        if !parent.contains('.') {
            let message = format!("`*.{parent}` would cover a whole top-level domain");
            return Err(word.fault(Rule::HostWildcard, message));
        }
        return Ok(HostPattern::Below(parent));
    }
    if let Some(at) = word.text.find('*') {
        return Err(word
            .part(at..at + 1)
            .fault(
                Rule::HostWildcard,
                "`*` must be the first label or the whole host",
            )
            .with_hint("write `*.example.com`"));
    }
    if let Some(inner) = word
        .text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
    {
        return network(word.part(1..1 + inner.len()), ipv6).map(HostPattern::Network);
    }
    let front = word.text.split('/').next().unwrap_or_default();
    if front.len() < word.text.len() && is_numeric(last_label(front)) {
        return network(word, ipv4).map(HostPattern::Network);
    }
    Ok(match host(word)? {
        Host::Name(name) => HostPattern::Name(name),
        Host::Address(address) => HostPattern::Network(Network::single(address)),
    })
}

/// One name or IPv4 address.
fn host(word: Word<'_>) -> Result<Host, Fault> {
    check_spelling(word)?;
    if let Some(at) = word.text.find('/') {
        return Err(word
            .from(at)
            .fault(Rule::HostUrl, "a host has no path")
            .with_hint("write `host:port` without scheme and path"));
    }
    let name = word.text.to_ascii_lowercase();
    if name.ends_with('.') {
        return Err(word
            .from(word.text.len() - 1)
            .fault(Rule::HostTrailingDot, "a host cannot end in a dot"));
    }
    if is_numeric(last_label(&name)) {
        return ipv4(word).map(Host::Address);
    }
    check_labels(word, &name)?;
    Ok(Host::Name(name))
}

fn last_label(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// What URL parsers take for the end of an IPv4 address.
fn is_numeric(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x");
    let is_hexadecimal = hexadecimal.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
    is_hexadecimal || (!label.is_empty() && label.bytes().all(|b| b.is_ascii_digit()))
}

fn check_labels(word: Word<'_>, name: &str) -> Result<(), Fault> {
    let mut at = 0;
    for label in name.split('.') {
        let place = word.part(at..at + label.len());
        at += label.len() + 1;
        if let Some(c) = label
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && *c != '-')
        {
            let fault = place.fault(Rule::HostCharacter, format!("`{c}` is in no host name"));
            return Err(match c.is_ascii() {
                true => fault,
                false => fault.with_hint("write the `xn--` form of the name"),
            });
        }
        if label.is_empty() || label.len() > MAX_LABEL {
            let message = format!("a label of a host has 1 to {MAX_LABEL} characters");
            // An empty span would point at nothing; the host that has it is shown instead.
            let place = if label.is_empty() { word } else { place };
            return Err(place.fault(Rule::HostLabel, message));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(place.fault(Rule::HostLabel, "a label cannot start or end with `-`"));
        }
    }
    if name.len() > MAX_HOST {
        let message = format!("a host has at most {MAX_HOST} characters");
        return Err(word.fault(Rule::HostLabel, message));
    }
    Ok(())
}
