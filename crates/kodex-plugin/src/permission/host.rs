//! Hosts, networks and ports: one spelling each, and patterns over them.
//!
//! A host is compared only after it was parsed here. Spellings that programs read differently
//! (octal, hexadecimal and decimal addresses, mapped addresses, percent codes) are refused instead
//! of guessed. No name is resolved: where a name leads is the host's business at connect time.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    error::{Fault, PermissionError, Rule},
    text::{Word, words},
};

/// The port when a permission names none.
pub const DEFAULT_PORT: u16 = 443;

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
            (Self::Network(wide), Self::Network(narrow)) => {
                wide.prefix <= narrow.prefix && wide.covers(narrow.address)
            }
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
            Self::Network(network) => match network.address {
                IpAddr::V4(address) => address.is_loopback() && network.prefix >= 8,
                IpAddr::V6(address) => address.is_loopback() && network.prefix == 128,
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

/// An address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The first address; the bits beyond the prefix are zero.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many of the first bits are fixed.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the address lies in the network. An IPv4 address mapped into IPv6 is an IPv4 address.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    fn is_single(self) -> bool {
        self.prefix == width(self.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, prefix } = self;
        match (address, self.is_single()) {
            (IpAddr::V4(_), true) => write!(f, "{address}"),
            (IpAddr::V4(_), false) => write!(f, "{address}/{prefix}"),
            (IpAddr::V6(_), true) => write!(f, "[{address}]"),
            (IpAddr::V6(_), false) => write!(f, "[{address}/{prefix}]"),
        }
    }
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self {
        first: 1,
        last: u16::MAX,
    };

    /// The lowest and the highest port.
    #[must_use]
    pub fn bounds(&self) -> (u16, u16) {
        (self.first, self.last)
    }

    /// Whether the port is in the range.
    #[must_use]
    pub fn matches(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether every port of the other range is in this one.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        self.first <= narrower.first && narrower.last <= self.last
    }

    fn parse(word: Word<'_>) -> Result<Self, Fault> {
        if word.text == "*" {
            return Ok(Self::ALL);
        }
        let (first, last) = match word.text.find('-') {
            Some(at) => (port(word.part(0..at))?, port(word.from(at + 1))?),
            None => (port(word)?, port(word)?),
        };
        if first > last {
            return Err(word.fault(Rule::PortRange, "the range runs backwards"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => f.write_str("*"),
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

/// Hosts and ports together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The hosts.
    pub host: HostPattern,
    /// The ports.
    pub ports: Ports,
}

impl Endpoint {
    /// Whether it covers this host at this port.
    #[must_use]
    pub fn matches(&self, host: &Host, port: u16) -> bool {
        self.host.matches(host) && self.ports.matches(port)
    }

    /// Whether it covers everything that `narrower` covers.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        self.host.contains(&narrower.host) && self.ports.contains(&narrower.ports)
    }

    /// Reads `host[:ports]`; also says whether ports were named.
    pub(super) fn parse(word: Word<'_>) -> Result<(Self, bool), Fault> {
        check_spelling(word)?;
        let (host, rest) = split_port(word)?;
        let host = host_pattern(host)?;
        let ports = match rest {
            Some(rest) => Ports::parse(rest)?,
            None => Ports {
                first: DEFAULT_PORT,
                last: DEFAULT_PORT,
            },
        };
        Ok((Self { host, ports }, rest.is_some()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.ports)
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

/// Refuses what makes a text look like one host and work as another.
fn check_spelling(word: Word<'_>) -> Result<(), Fault> {
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

fn split_port(word: Word<'_>) -> Result<(Word<'_>, Option<Word<'_>>), Fault> {
    let brackets = |message: &str| {
        word.fault(Rule::HostBrackets, message)
            .with_hint("an IPv6 address is written `[2001:db8::1]:443`")
    };
    if word.text.starts_with('[') {
        let Some(close) = word.text.find(']') else {
            return Err(brackets("no closing `]` follows"));
        };
        let (host, rest) = (word.part(0..close + 1), word.from(close + 1));
        return match rest.text.strip_prefix(':') {
            Some(_) => Ok((host, Some(rest.from(1)))),
            None if rest.text.is_empty() => Ok((host, None)),
            None => Err(brackets("only a port can follow the brackets")),
        };
    }
    match word.text.split_once(':') {
        None => Ok((word, None)),
        Some((_, rest)) if rest.contains(':') => {
            Err(brackets("an IPv6 address must stand in brackets"))
        }
        Some((host, _)) => Ok((word.part(0..host.len()), Some(word.from(host.len() + 1)))),
    }
}

fn host_pattern(word: Word<'_>) -> Result<HostPattern, Fault> {
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
    if word.text.contains('/') {
        return network(word, ipv4).map(HostPattern::Network);
    }
    Ok(match host(word)? {
        Host::Name(name) => HostPattern::Name(name),
        Host::Address(address) => HostPattern::Network(Network {
            address,
            prefix: width(address),
        }),
    })
}

fn network(
    word: Word<'_>,
    parse: impl Fn(Word<'_>) -> Result<IpAddr, Fault>,
) -> Result<Network, Fault> {
    let Some(at) = word.text.find('/') else {
        let address = parse(word)?;
        let prefix = width(address);
        return Ok(Network { address, prefix });
    };
    let address = parse(word.part(0..at))?;
    let bits = word.from(at + 1);
    let is_number = bits.text == "0" || (!bits.text.starts_with(['0', '+']));
    let prefix = bits.text.parse::<u8>().ok().filter(|_| is_number);
    let Some(prefix) = prefix.filter(|prefix| *prefix <= width(address)) else {
        let message = format!(
            "`{}` is no prefix of 0 to {} bits",
            bits.text,
            width(address)
        );
        return Err(bits.fault(Rule::HostNetwork, message));
    };
    let first = masked(address, prefix);
    if first != address {
        return Err(word
            .fault(Rule::HostNetwork, "the address has bits beyond the prefix")
            .with_hint(format!(
                "did you mean `{}`?",
                Network {
                    address: first,
                    prefix
                }
            )));
    }
    Ok(Network { address, prefix })
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
    let last = name.rsplit('.').next().unwrap_or_default();
    if is_numeric(last) {
        return ipv4(word).map(Host::Address);
    }
    check_labels(word, &name)?;
    Ok(Host::Name(name))
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

fn ipv4(word: Word<'_>) -> Result<IpAddr, Fault> {
    word.text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| {
        let message = format!("`{}` is no address in the usual spelling", word.text);
        word.fault(Rule::HostIpSpelling, message)
            .with_hint("write four decimal numbers without leading zeros")
    })
}

fn ipv6(word: Word<'_>) -> Result<IpAddr, Fault> {
    let Ok(address) = word.text.parse::<Ipv6Addr>() else {
        let message = format!("`{}` is no IPv6 address", word.text);
        return Err(word.fault(Rule::HostBrackets, message));
    };
    match address.to_ipv4_mapped() {
        None => Ok(IpAddr::V6(address)),
        Some(mapped) => Err(word
            .fault(Rule::HostIpSpelling, "this is an IPv4 address in disguise")
            .with_hint(format!("write `{mapped}`"))),
    }
}

fn port(word: Word<'_>) -> Result<u16, Fault> {
    let is_plain = word.text.bytes().all(|b| b.is_ascii_digit()) && !word.text.starts_with('0');
    let port = word.text.parse::<u16>().ok().filter(|_| is_plain);
    port.ok_or_else(|| {
        word.fault(
            Rule::PortRange,
            format!("`{}` is no port from 1 to 65535", word.text),
        )
        .with_hint("write `443`, a range such as `8000-8010`, or `*`")
    })
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with every bit beyond the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let shift = 32_u32.saturating_sub(prefix.into());
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let shift = 128_u32.saturating_sub(prefix.into());
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}
