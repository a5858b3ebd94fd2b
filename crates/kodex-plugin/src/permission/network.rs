//! Addresses and networks of addresses, in one spelling each.
//!
//! Octal, hexadecimal, decimal, shortened and mapped addresses are refused, not understood:
//! programs disagree about them, and a permission must not.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    error::{Fault, Rule},
    text::Word,
};

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
        masked(address.to_canonical(), self.prefix) == self.address
    }

    /// Whether every address of the other network lies in this one.
    #[must_use]
    pub fn contains(&self, narrower: &Self) -> bool {
        self.prefix <= narrower.prefix && self.covers(narrower.address)
    }

    pub(super) fn single(address: IpAddr) -> Self {
        let prefix = width(address);
        Self { address, prefix }
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

/// An address, or an address and a prefix.
pub(super) fn network(
    word: Word<'_>,
    parse: impl Fn(Word<'_>) -> Result<IpAddr, Fault>,
) -> Result<Network, Fault> {
    let Some(at) = word.text.find('/') else {
        return parse(word).map(Network::single);
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

pub(super) fn ipv4(word: Word<'_>) -> Result<IpAddr, Fault> {
    word.text.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| {
        let message = format!("`{}` is no address in the usual spelling", word.text);
        word.fault(Rule::HostIpSpelling, message)
            .with_hint("write four decimal numbers without leading zeros")
    })
}

pub(super) fn ipv6(word: Word<'_>) -> Result<IpAddr, Fault> {
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
