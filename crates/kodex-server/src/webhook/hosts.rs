//! Which hosts answers may be sent to.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use super::url::{Target, split};

/// A host that answers may be sent to: `hooks.example.com` or `hooks.example.com:8443` for https alone,
/// `http://` before it for http alone. Names match whole; there are no patterns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AllowedHost {
    is_https: bool,
    host: String,
    port: u16,
}

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no host; write `hooks.example.com`, `hooks.example.com:8443` or `http://10.0.0.5:8080`"
)]
pub struct BadHost {
    text: String,
}

impl FromStr for AllowedHost {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        let bad = || BadHost {
            text: text.to_owned(),
        };
        let (is_https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(bad()),
            None => (true, text),
        };
        let (host, port) = split(rest).ok_or_else(bad)?;
        Ok(Self {
            is_https,
            host,
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
        })
    }
}

/// The listed hosts, and this machine.
#[derive(Debug)]
pub(super) struct Allowed {
    hosts: Vec<AllowedHost>,
}

impl Allowed {
    pub(super) fn new(hosts: impl IntoIterator<Item = AllowedHost>) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
        }
    }

    /// Whether answers may be sent there at all.
    pub(super) fn has(&self, target: &Target) -> bool {
        let is_own = target.host == "localhost"
            || target
                .ip()
                .is_some_and(|ip| ip.to_canonical().is_loopback());
        let is_listed = |host: &AllowedHost| {
            host.is_https == target.is_https && host.port == target.port && host.host == target.host
        };
        is_own || self.hosts.iter().any(is_listed)
    }

    /// Whether a listed name may lie there: at a public address, or at one that is listed itself.
    pub(super) fn may_reach(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let is_listed = |host: &AllowedHost| {
            host.port == address.port() && host.host.parse::<IpAddr>().is_ok_and(|own| own == ip)
        };
        is_public(ip) || self.hosts.iter().any(is_listed)
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_reserved = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_reserved
}

/// Only what is given out to be reached from anywhere, without those parts that lead on to an IPv4 address
/// (6to4, Teredo) or are for examples. NAT64's prefix lies outside.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let is_given_out = a & 0xe000 == 0x2000;
    let leads_on = a == 0x2002 || (a == 0x2001 && b == 0);
    let is_reserved = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || (a == 0x3fff && b < 0x1000);
    is_given_out && !leads_on && !is_reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str]) -> Allowed {
        Allowed::new(hosts.iter().map(|host| host.parse().expect("a host")))
    }

    #[test]
    fn only_listed_hosts_and_this_machine_are_spoken_to() {
        let allowed = allowed(&[
            "Hooks.example.com",
            "b.example:8443",
            "http://10.0.0.5:8080",
        ]);
        for (url, want) in [
            ("https://hooks.example.com/x", true),
            ("https://HOOKS.example.com.:443/x", true),
            ("http://hooks.example.com/x", false),
            ("https://hooks.example.com:444/x", false),
            ("https://x.hooks.example.com/", false),
            ("https://hooks.example.com.evil.example/", false),
            ("https://b.example:8443/", true),
            ("https://b.example/", false),
            ("http://10.0.0.5:8080/", true),
            ("http://10.0.0.6:8080/", false),
            ("http://localhost:1/", true),
            ("https://127.0.0.9/", true),
            ("http://[::1]:5/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://169.254.169.254/", false),
            ("http://0.0.0.0/", false),
        ] {
            let target = Target::read(url).expect(url);
            assert_eq!(allowed.has(&target), want, "{url}");
        }
    }

    #[test]
    fn a_name_must_not_lead_inside() {
        let allowed = allowed(&["hooks.corp.example", "10.1.2.3"]);
        for (address, want) in [
            ("93.184.216.34:443", true),
            ("10.1.2.3:443", true),
            ("10.1.2.3:80", false),
            ("10.1.2.4:443", false),
            ("127.0.0.1:443", false),
            ("169.254.169.254:443", false),
            ("172.16.0.1:443", false),
            ("172.32.0.1:443", true),
            ("192.168.1.1:443", false),
            ("100.64.0.1:443", false),
            ("0.0.0.0:443", false),
            ("224.0.0.1:443", false),
            ("255.255.255.255:443", false),
            ("198.18.0.1:443", false),
            ("[2606:2800:220:1::1]:443", true),
            ("[::1]:443", false),
            ("[::ffff:10.0.0.1]:443", false),
            ("[64:ff9b::a00:1]:443", false),
            ("[2002:a00:1::1]:443", false),
            ("[2001::1]:443", false),
            ("[2001:db8::1]:443", false),
            ("[fd00::1]:443", false),
            ("[fe80::1]:443", false),
            ("[ff02::1]:443", false),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(allowed.may_reach(address), want, "{address}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            "*",
            "*.example.com",
            "a.example/",
            "ftp://a.example",
            "u@a.example",
            "a.example:x",
            "[::1",
        ] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text:?}");
        }
    }
}
