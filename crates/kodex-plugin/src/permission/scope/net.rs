//! Connections.

use std::{collections::BTreeSet, fmt};

use super::{Canonical, Clause, Fault, Grammar};
use crate::permission::{
    access::{Accesses, accesses},
    clause::{covers_list, covers_most, set},
    endpoint::Endpoint,
    error::Rule,
    path::PathPattern,
    text::Word,
    value,
};

accesses! {
    /// What may be done with the network.
    NetAccess {
        /// Open a connection.
        Connect = "connect",
        /// Accept connections, from this machine only.
        Listen = "listen",
    }
}

/// The other end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetTarget {
    /// Hosts and ports.
    Endpoint(Endpoint),
    /// Unix sockets: `unix:${data}/x.sock`.
    Unix(PathPattern),
}

impl fmt::Display for NetTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => write!(f, "{endpoint}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl NetTarget {
    fn parse(word: Word<'_>, accesses: &Accesses<NetAccess>) -> Result<Self, Fault> {
        if word.text.starts_with("unix:") {
            return PathPattern::parse(word.from("unix:".len())).map(Self::Unix);
        }
        let (endpoint, has_port) = Endpoint::parse(word)?;
        if accesses.contains(NetAccess::Listen) {
            if !endpoint.host.is_loopback() {
                return Err(word
                    .fault(
                        Rule::HostLoopback,
                        "a plugin can listen on this machine only",
                    )
                    .with_hint("write `localhost`, `127.0.0.1` or `[::1]`"));
            }
            if !has_port {
                return Err(word
                    .fault(Rule::PortMissing, "listening needs a port")
                    .with_hint(format!(
                        "write `{}:8080`, or `:*` for any port",
                        endpoint.host
                    )));
            }
        }
        Ok(Self::Endpoint(endpoint))
    }

    fn contains(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::Endpoint(wide), Self::Endpoint(narrow)) => wide.contains(narrow),
            (Self::Unix(wide), Self::Unix(narrow)) => wide.contains(narrow),
            (Self::Endpoint(_), Self::Unix(_)) | (Self::Unix(_), Self::Endpoint(_)) => false,
        }
    }
}

/// Whether a connection must be encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tls {
    /// Only encrypted connections.
    #[default]
    Required,
    /// Plain connections too.
    Optional,
}

const TLS: &[(&str, Tls)] = &[("optional", Tls::Optional), ("required", Tls::Required)];

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `DELETE`
    Delete,
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

const METHODS: &[(&str, Method)] = &[
    ("DELETE", Method::Delete),
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("OPTIONS", Method::Options),
    ("PATCH", Method::Patch),
    ("POST", Method::Post),
    ("PUT", Method::Put),
];

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        })
    }
}

/// Access to the network: `net:connect api.example.com:443`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Net {
    /// What may be done.
    pub accesses: Accesses<NetAccess>,
    /// The other end.
    pub target: NetTarget,
    /// Most bytes that may be sent in one run.
    pub max_bytes_out: Option<u64>,
    /// HTTP methods that may be used; any when absent.
    pub methods: Option<BTreeSet<Method>>,
    /// Whether encryption is required.
    pub tls: Tls,
}

impl Grammar for Net {
    fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
        let accesses: Accesses<NetAccess> = clause.accesses()?;
        let word = clause.target("net:connect api.example.com:443")?;
        let target = NetTarget::parse(word, &accesses)?;
        let connects = accesses.contains(NetAccess::Connect);
        let is_remote = matches!(target, NetTarget::Endpoint(_));
        let max_bytes_out = clause.size("max_bytes_out")?;
        let methods = clause.take_if(connects, "methods", "`connect`")?;
        let tls = clause.take_if(connects && is_remote, "tls", "`connect` and a host")?;
        Ok(Self {
            accesses,
            target,
            max_bytes_out,
            methods: methods.map(|word| set(word, method)).transpose()?,
            tls: tls.map_or(Ok(Tls::default()), |word| value::choice(word, TLS))?,
        })
    }

    fn write(&self, scope: &str) -> Canonical {
        Canonical::new(scope, &self.accesses.words())
            .target(&self.target)
            .constraint("max_bytes_out", self.max_bytes_out)
            .list("methods", self.methods.as_ref())
            .constraint("tls", (self.tls == Tls::Optional).then_some("optional"))
    }

    fn atoms(&self) -> Vec<Self> {
        let atom = |access| Self {
            accesses: Accesses::one(access),
            ..self.clone()
        };
        self.accesses.iter().map(atom).collect()
    }

    fn covers(&self, narrower: &Self) -> bool {
        let (wide, narrow) = (self.methods.as_ref(), narrower.methods.as_ref());
        let connects = narrower.accesses.contains(NetAccess::Connect);
        let is_bound_alike = || {
            covers_list(wide, narrow, PartialEq::eq)
                && (self.tls == Tls::Optional || narrower.tls == Tls::Required)
        };
        self.accesses.covers(&narrower.accesses)
            && self.target.contains(&narrower.target)
            && covers_most(self.max_bytes_out, narrower.max_bytes_out)
            && (!connects || is_bound_alike())
    }

    fn split(&self) -> Vec<Self> {
        match &self.target {
            NetTarget::Endpoint(_) => vec![self.clone()],
            NetTarget::Unix(path) => {
                let with_path = |path| Self {
                    target: NetTarget::Unix(path),
                    ..self.clone()
                };
                path.split().into_iter().map(with_path).collect()
            }
        }
    }
}

/// Methods are upper case on the wire; nobody means another method by a lower-case one.
fn method(word: Word<'_>) -> Result<Method, Fault> {
    let upper = word.text.to_ascii_uppercase();
    let known = METHODS.iter().find(|(name, _)| *name == upper);
    known.map_or_else(|| value::choice(word, METHODS), |(_, method)| Ok(*method))
}
