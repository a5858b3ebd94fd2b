//! Hosts and ports together: `api.example.com:443`.

use std::fmt;

use super::{
    error::{Fault, Rule},
    host::{Host, HostPattern, check_spelling, host_pattern},
    text::Word,
};

/// The port when a permission names none.
pub const DEFAULT_PORT: u16 = 443;

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
