//! URLs of webhooks: http and https, a host, a path. No user, no fragment, no other scheme.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::Uri;

/// The longest URL, in bytes.
const URL_BYTES: usize = 2_048;

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_https: bool,
    /// In lower case, without brackets and without a dot at the end.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Target {
    /// Reads a URL. What it says is not repeated: paths of webhooks are often secrets.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let refused = |what: &str| Err(format!("the destination's URL {what}"));
        if text.len() > URL_BYTES {
            return refused("is too long");
        }
        if text.contains('#') {
            return refused("has a fragment, which no server gets");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return refused("is none");
        };
        let (is_https, usual) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return refused("is neither http nor https"),
        };
        let Some(authority) = uri.authority() else {
            return refused("has no host");
        };
        if authority.as_str().contains('@') {
            return refused("holds a user or a password; put secrets elsewhere");
        }
        let (host, port) = match split(authority.as_str()) {
            Some((host, port)) => (host, port.unwrap_or(usual)),
            None => return refused("has no usable host or port"),
        };
        Ok(Self {
            is_https,
            host,
            port,
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }

    /// The host as an address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Addresses that need no lookup.
    pub(super) fn fixed(&self) -> Option<Vec<SocketAddr>> {
        if self.host == "localhost" {
            let own = [
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ];
            return Some(own.map(|ip| SocketAddr::new(ip, self.port)).into());
        }
        self.ip().map(|ip| vec![SocketAddr::new(ip, self.port)])
    }

    /// Host and port, for people: without the path.
    pub(super) fn shown(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    pub(super) fn authority(&self) -> String {
        let usual = if self.is_https { 443 } else { 80 };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == usual {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`. A host is a plain name or an address in its
/// usual form: other spellings of addresses, such as `127.1` or `0x7f000001`, are none.
pub(super) fn split(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some(""))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let has_colon = authority.ends_with(':');
    let port = match port {
        "" if has_colon => return None,
        "" => None,
        digits => Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    is_host(&host).then_some((host, port))
}

fn is_host(host: &str) -> bool {
    if host.parse::<IpAddr>().is_ok() {
        return true;
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits, or of digits with 0x before, makes resolvers take the whole for an address.
    let is_name =
        |label: &str| !label.bytes().all(|byte| byte.is_ascii_digit()) && !label.starts_with("0x");
    host.len() <= 253
        && host.split('.').all(is_label)
        && host.rsplit('.').next().is_some_and(is_name)
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn check(url: &str, want: &str) {
        let got = match Target::read(url) {
            Ok(target) => format!(
                "{} | {} | {} | {}",
                target.shown(),
                target.host,
                target.port,
                target.path
            ),
            Err(error) => format!("!{}", error.trim_start_matches("the destination's URL ")),
        };
        assert_eq!(got, want, "{url:?}");
    }

    #[test]
    fn urls_are_read_strictly() {
        check(
            "https://Hooks.Example.com/a?b=c",
            "https://hooks.example.com | hooks.example.com | 443 | /a?b=c",
        );
        check(
            "http://localhost:8080",
            "http://localhost:8080 | localhost | 8080 | /",
        );
        check("https://[::1]:9/x", "https://[::1]:9 | ::1 | 9 | /x");
        check(
            "https://a.example.:443/",
            "https://a.example | a.example | 443 | /",
        );
        check("ftp://a.example/", "!is neither http nor https");
        check("//a.example/", "!is neither http nor https");
        check(
            "https://a.example/#x",
            "!has a fragment, which no server gets",
        );
        check(
            "https://u:p@a.example/",
            "!holds a user or a password; put secrets elsewhere",
        );
        check(
            "https://a.example@127.0.0.1/",
            "!holds a user or a password; put secrets elsewhere",
        );
        check("http://2130706433/", "!has no usable host or port");
        check("http://0x7f000001/", "!has no usable host or port");
        check("http://127.1/", "!has no usable host or port");
        check("http://0177.0.0.1/", "!has no usable host or port");
        check("http://[::1%25lo]/", "!has no usable host or port");
        check("http://a.example:0/", "!has no usable host or port");
        check("http://a_b.example/", "!has no usable host or port");
        check("http://-a.example/", "!has no usable host or port");
        check("http://a..example/", "!has no usable host or port");
        check("", "!is none");
        check("https://", "!is none");
    }
}
