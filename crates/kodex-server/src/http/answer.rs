//! What is answered to which request. Only reading; who asks from a web page is refused, whatever it asks.

use std::{convert::Infallible, net::IpAddr};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Body as _,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::{metrics, resident::Resident};

type Answer = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Answers one request.
pub(super) async fn answer(
    request: Request<hyper::body::Incoming>,
    resident: &Resident,
) -> Result<Answer, Infallible> {
    let public = resident.options.expose_http;
    let mut answer = match refused(&request, public) {
        Some(refused) => refused,
        None => asked(request.uri().path(), resident).await,
    };
    if request.method() == Method::HEAD {
        *answer.body_mut() = Full::default();
    }
    Ok(answer)
}

async fn asked(path: &str, resident: &Resident) -> Answer {
    match path {
        "/livez" => match resident.is_alive() {
            true => said(StatusCode::OK, TEXT, "ok\n"),
            false => said(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stuck\n"),
        },
        "/startupz" => match resident.has_begun() {
            true => said(StatusCode::OK, JSON, "{\"status\":\"started\"}\n"),
            false => unavailable("starting"),
        },
        "/readyz" => match resident.unready().await {
            None => said(StatusCode::OK, JSON, "{\"status\":\"ready\"}\n"),
            Some(why) => unavailable(why.as_str()),
        },
        "/metrics" => {
            let page = metrics::page(resident).await;
            said(StatusCode::OK, metrics::CONTENT_TYPE, page.to_string())
        }
        _ => said(StatusCode::NOT_FOUND, TEXT, "not found\n"),
    }
}

/// Never says more than the reason: which plugins there are is the operator's business.
fn unavailable(reason: &str) -> Answer {
    let body = format!("{{\"status\":\"unavailable\",\"reason\":\"{reason}\"}}\n");
    said(StatusCode::SERVICE_UNAVAILABLE, JSON, body)
}

/// What is wrong with a request whatever it asks.
fn refused(request: &Request<hyper::body::Incoming>, public: bool) -> Option<Answer> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(ALLOW, allowed);
        return Some(answer);
    }
    if !request.body().is_end_stream() {
        return Some(said(
            StatusCode::PAYLOAD_TOO_LARGE,
            TEXT,
            "no body, please\n",
        ));
    }
    let is_welcome = is_from_no_page(request.headers())
        && request.uri().authority().is_none()
        && (public || is_for_this_machine(request.headers()));
    (!is_welcome).then(|| said(StatusCode::FORBIDDEN, TEXT, "not from here\n"))
}

/// Browsers say where a request comes from.
fn is_from_no_page(headers: &HeaderMap) -> bool {
    const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let is_own = |site: &HeaderValue| site == "none" || site == "same-origin";
    !headers.contains_key(ORIGIN) && headers.get_all(FETCH_SITE).iter().all(is_own)
}

/// Whether the host that was asked for is this machine: a page whose name was made to point here asks for
/// another one.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    host.to_str().is_ok_and(is_own_name)
}

fn is_own_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port),
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        return false;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn said(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::is_own_name;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for (host, want) in [
            ("localhost", true),
            ("LOCALHOST:7340", true),
            ("localhost.:1", true),
            ("127.0.0.1", true),
            ("127.8.9.1:65535", true),
            ("[::1]", true),
            ("[::1]:7340", true),
            ("", false),
            ("localhost:", false),
            ("localhost:99999", false),
            ("localhost:1:2", false),
            ("localhost.evil.example", false),
            ("evil.example", false),
            ("0.0.0.0:7340", false),
            ("10.0.0.1", false),
            ("[::1", false),
            ("[::]:1", false),
            ("[fe80::1]", false),
            ("127.0.0.1@evil.example", false),
            ("2130706433", false),
        ] {
            assert_eq!(is_own_name(host), want, "{host:?}");
        }
    }
}
