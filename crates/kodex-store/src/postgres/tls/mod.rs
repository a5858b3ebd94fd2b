//! TLS to the server: what a place asks for, in the words of Postgres' own programs.
//!
//! | `sslmode` | what it does |
//! |---|---|
//! | `disable` | no TLS |
//! | `prefer` | TLS where the server offers it, with whatever certificate; the usual one |
//! | `require` | TLS with whatever certificate; with `sslrootcert=FILE` as `verify-ca` |
//! | `verify-ca` | the certificate leads to one of `sslrootcert=FILE` |
//! | `verify-full` | that, or to one that the system trusts, and it is made out to the host |
//!
//! Nothing is looked for in a home folder. Revocation lists and certificates of clients are not there.

#[cfg(feature = "tls")]
mod connect;
#[cfg(not(feature = "tls"))]
mod without;

use std::path::PathBuf;

use tokio_postgres::config::SslMode;

#[cfg(feature = "tls")]
pub(super) use connect::{Connect, advice, connect};
#[cfg(not(feature = "tls"))]
pub(super) use without::{Connect, advice, connect};

/// What is asked of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    /// What the driver is told; what a certificate must be is not its business.
    pub(super) fn of_driver(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// Who vouches for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// Nobody has to.
    Anybody,
    /// Whoever the system trusts.
    System,
    /// The certificates of a file.
    File(PathBuf),
}

/// What a place says about TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) mode: Mode,
    pub(super) roots: Roots,
}

/// Takes what is about TLS out of a place; gives the rest, which the driver understands.
///
/// # Errors
/// What is wrong with it.
pub(super) fn take(url: &str) -> Result<(String, Wanted), String> {
    let (mut mode, mut file) = (None, None);
    // A password may hold a question mark.
    let start = url.find('@').unwrap_or(0);
    let Some(at) = url[start..].find('?').map(|at| start + at) else {
        return wanted(mode, file).map(|wanted| (url.to_owned(), wanted));
    };
    let mut kept = Vec::new();
    for pair in url[at + 1..].split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(decoded(value)?),
            Some(("sslrootcert", value)) => file = Some(decoded(value)?),
            Some((name @ ("sslcert" | "sslkey" | "sslcrl" | "sslcrldir" | "sslpassword"), _)) => {
                return Err(format!("{name} is not supported"));
            }
            _ => kept.push(pair),
        }
    }
    let mut rest = url[..at].to_owned();
    if !kept.is_empty() {
        rest.push('?');
        rest.push_str(&kept.join("&"));
    }
    wanted(mode, file).map(|wanted| (rest, wanted))
}

fn wanted(mode: Option<String>, file: Option<String>) -> Result<Wanted, String> {
    let mode = match (mode.as_deref(), file.as_deref()) {
        (Some("disable"), _) => Mode::Disable,
        (Some("prefer"), _) | (None, None) => Mode::Prefer,
        (Some("require"), None) => Mode::Require,
        (Some("verify-full"), _) | (None, Some("system")) => Mode::VerifyFull,
        // As in Postgres' own programs: whoever names an authority wants it to count.
        (Some("verify-ca" | "require"), Some(name)) if name != "system" => Mode::VerifyCa,
        (None, Some(_)) => {
            return Err("sslrootcert needs sslmode=verify-full or sslmode=verify-ca".to_owned());
        }
        (Some("verify-ca" | "require"), _) => {
            return Err(
                "sslmode=verify-ca needs sslrootcert=FILE, the certificate of the authority; \
                 among those that the system trusts anybody can get one, so there it is sslmode=verify-full"
                    .to_owned(),
            );
        }
        (Some(_), _) => {
            return Err(
                "sslmode is one of disable, prefer, require, verify-ca and verify-full".to_owned(),
            );
        }
    };
    let roots = match (mode, file) {
        (Mode::VerifyFull, None) => Roots::System,
        (Mode::VerifyFull, Some(name)) if name == "system" => Roots::System,
        (Mode::VerifyCa | Mode::VerifyFull, Some(file)) => Roots::File(file.into()),
        (Mode::Prefer, Some(_)) => {
            return Err(
                "sslmode=prefer checks no certificate; with sslrootcert it is sslmode=verify-full"
                    .to_owned(),
            );
        }
        _ => Roots::Anybody,
    };
    Ok(Wanted { mode, roots })
}

/// A value of a URL: `%XX` is a byte.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "a value is no text: % stands before two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let (high, low) = high.zip(low).ok_or_else(wrong)?;
                u8::try_from(high * 16 + low).map_err(|_| wrong())?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_say_what_they_want() {
        let check = |url: &str, want: Result<(&str, Mode, Roots), &str>| match (take(url), want) {
            (Ok((rest, wanted)), Ok((url, mode, roots))) => {
                assert_eq!((&*rest, wanted), (url, Wanted { mode, roots }));
            }
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{url}: {problem}"),
            (got, want) => panic!("{url}: {got:?} instead of {want:?}"),
        };
        let file = |name: &str| Roots::File(name.into());
        let any = Roots::Anybody;
        check(
            "postgres://h/d",
            Ok(("postgres://h/d", Mode::Prefer, any.clone())),
        );
        check(
            "postgres://u:a?b@h/d",
            Ok(("postgres://u:a?b@h/d", Mode::Prefer, any.clone())),
        );
        check(
            "postgres://u:p@h/d?sslmode=disable&keepalives=0",
            Ok((
                "postgres://u:p@h/d?keepalives=0",
                Mode::Disable,
                any.clone(),
            )),
        );
        check(
            "postgres://h/d?sslmode=require",
            Ok(("postgres://h/d", Mode::Require, any)),
        );
        check(
            "postgres://h/d?sslmode=require&sslrootcert=/a%20b/ca.crt",
            Ok(("postgres://h/d", Mode::VerifyCa, file("/a b/ca.crt"))),
        );
        check(
            "postgres://h/d?sslrootcert=ca.crt&sslmode=verify-full",
            Ok(("postgres://h/d", Mode::VerifyFull, file("ca.crt"))),
        );
        for url in [
            "sslmode=verify-full",
            "sslrootcert=system",
            "sslmode=verify-full&sslrootcert=system",
        ] {
            let url = format!("postgres://h/d?{url}");
            check(
                &url,
                Ok(("postgres://h/d", Mode::VerifyFull, Roots::System)),
            );
        }
        check(
            "postgres://h/d?sslmode=verify-ca",
            Err("needs sslrootcert=FILE"),
        );
        check(
            "postgres://h/d?sslmode=verify-ca&sslrootcert=system",
            Err("sslmode=verify-full"),
        );
        check(
            "postgres://h/d?sslmode=prefer&sslrootcert=a",
            Err("checks no certificate"),
        );
        check("postgres://h/d?sslrootcert=a", Err("needs sslmode"));
        check("postgres://h/d?sslmode=allow", Err("one of disable"));
        check("postgres://h/d?sslcert=a", Err("sslcert is not supported"));
        check("postgres://h/d?sslmode=%zz", Err("hexadecimal"));
    }
}
