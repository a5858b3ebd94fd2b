//! Answers of agent runs to HTTP: a destination of kind `webhook`, whose address is a URL.
//!
//! Plugins name the URL, so only hosts that the operator listed are spoken to, and this machine. A name is
//! looked up once, every answer is checked, and the connection goes to the address that was checked. Redirects
//! are not followed; nothing of what comes back is kept but the status.

mod hosts;
mod tls;
mod url;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use kodex::{Deliver, DeliverError, Pending, Run};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

pub use self::hosts::{AllowedHost, BadHost};
use self::{hosts::Allowed, url::Target};

/// How long one answer may take to be brought.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How many addresses of a name are tried.
const N_ADDRESSES: usize = 4;

/// A destination of kind `webhook`: the address is a URL, and the answer is sent there by POST as
/// `{"run", "plugin", "answer"}`, with the run's id as `Idempotency-Key`. Status 2xx is delivered; 408, 429, 5xx
/// and a failed connection are tried again; anything else is not.
#[derive(Debug)]
pub struct WebhookDelivery {
    allowed: Allowed,
    timeout: Duration,
    tls: tls::Tls,
}

#[derive(Serialize)]
struct Body<'a> {
    run: &'a str,
    plugin: &'a str,
    answer: &'a str,
}

impl WebhookDelivery {
    /// To these hosts, and to this machine.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = AllowedHost>) -> Self {
        Self {
            allowed: Allowed::new(hosts),
            timeout: TIMEOUT,
            tls: tls::Tls::default(),
        }
    }

    /// How long one answer may take to be brought.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn bring(&self, run: &Run, answer: &str) -> Result<(), DeliverError> {
        let target = Target::read(&run.destination.address).map_err(last)?;
        if !self.allowed.has(&target) {
            let text = format!(
                "{} is not listed in `hosts` under [destinations.webhook]",
                target.shown()
            );
            return Err(last(text));
        }
        let request = request(&target, run, answer).map_err(last)?;
        match timeout(self.timeout, self.send(&target, request)).await {
            Ok(sent) => judge(sent?, &target),
            Err(_) => {
                let ms = self.timeout.as_millis();
                Err(again(format!(
                    "{} did not answer within {ms} ms",
                    target.shown()
                )))
            }
        }
    }

    async fn send(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
    ) -> Result<StatusCode, DeliverError> {
        let addresses = self.addresses(target).await?;
        // One that says nothing must not take the time of the others.
        let n_waits = u32::try_from(addresses.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let stream = connect(target, &addresses, self.timeout / n_waits).await?;
        match target.is_https {
            true => {
                let stream = self.tls.wrap(&target.host, stream).await;
                let stream = stream
                    .map_err(|text| again(format!("{} under TLS: {text}", target.shown())))?;
                exchange(target, stream, request).await
            }
            false => exchange(target, stream, request).await,
        }
    }

    /// Where a target lies, every address checked.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, DeliverError> {
        if let Some(own) = target.fixed() {
            return Ok(own);
        }
        let found = lookup_host((target.host.as_str(), target.port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| again(format!("{} is not found: {error}", target.host)))?
            .take(N_ADDRESSES)
            .collect();
        match found
            .iter()
            .find(|address| !self.allowed.may_reach(**address))
        {
            None => Ok(found),
            Some(inner) => Err(last(format!(
                "{} is {}, which is no public address and is not listed in `hosts` under [destinations.webhook]",
                target.host,
                inner.ip()
            ))),
        }
    }
}

impl Deliver for WebhookDelivery {
    fn deliver<'a>(
        &'a self,
        run: &'a Run,
        answer: &'a str,
    ) -> Pending<'a, Result<(), DeliverError>> {
        Box::pin(self.bring(run, answer))
    }
}

fn request(target: &Target, run: &Run, answer: &str) -> Result<Request<Full<Bytes>>, String> {
    const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
    let body = Body {
        run: &run.id,
        plugin: run.plugin.as_str(),
        answer,
    };
    let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
    let unusable = |error: hyper::http::Error| format!("no request can be made: {error}");
    Request::builder()
        .method(Method::POST)
        .uri(target.path.as_str())
        .header(HOST, target.authority())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(CONNECTION, HeaderValue::from_static("close"))
        .header(
            USER_AGENT,
            HeaderValue::from_static(concat!("kodex/", env!("CARGO_PKG_VERSION"))),
        )
        .header(IDEMPOTENCY_KEY, run.id.as_str())
        .body(Full::new(Bytes::from(body)))
        .map_err(unusable)
}

async fn connect(
    target: &Target,
    addresses: &[SocketAddr],
    each: Duration,
) -> Result<TcpStream, DeliverError> {
    let mut why = "its name has no address".to_owned();
    for address in addresses {
        match timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no answer within {} ms", each.as_millis()),
        }
    }
    Err(again(format!(
        "{} cannot be reached: {why}",
        target.shown()
    )))
}

async fn exchange(
    target: &Target,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<StatusCode, DeliverError> {
    let failed = |error: hyper::Error| again(format!("{} failed: {error}", target.shown()));
    let handshake = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(failed)?;
    let answer = sender.send_request(request);
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        response = &mut answer => response.map_err(failed).map(|response| response.status()),
        ended = &mut connection => {
            // What came with the end may still be the answer.
            let response = answer.await;
            ended.map_err(failed)?;
            response.map_err(failed).map(|response| response.status())
        }
    }
}

fn judge(status: StatusCode, target: &Target) -> Result<(), DeliverError> {
    let text = || format!("{} answered {}", target.shown(), status.as_u16());
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(again(text())),
        status if status.is_server_error() => Err(again(text())),
        status if status.is_redirection() => {
            Err(last(format!("{}; redirects are not followed", text())))
        }
        _ => Err(last(text())),
    }
}

fn again(message: String) -> DeliverError {
    DeliverError {
        transient: true,
        message,
    }
}

fn last(message: String) -> DeliverError {
    DeliverError {
        transient: false,
        message,
    }
}
