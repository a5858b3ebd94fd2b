//! Asking a resident runtime instead of starting everything anew, where there is one that would answer the
//! same. `-v` says who answered.

use std::{path::PathBuf, time::Duration};

use kodex::{Diagnostic, Json};
use kodex_server::{
    Client, ClientError,
    wire::{Answered, DRAINING, Like, OTHER, Refusal},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    invocation::Invocation,
    problem::{Exit, Problem},
};

/// Plugins have bounds of their own, well below this one.
const PATIENCE: Duration = Duration::from_secs(600);
/// Refusals after which nothing was done, and this process can do it.
const TAKEN_OVER: &[&str] = &[
    OTHER,
    DRAINING,
    "daemon.message",
    "daemon.method",
    "daemon.params",
    "daemon.stranger",
];

/// Flags of verbs that a resident runtime may answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Daemon {
    /// Do it here, also when a resident runtime is there
    #[arg(long)]
    no_daemon: bool,
}

/// Flags of verbs that are about a resident runtime.
#[derive(Debug, clap::Args)]
pub(crate) struct At {
    /// The socket of the resident runtime
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Daemon {
    /// The answer of a resident runtime; none when there is none that would answer as this process would.
    pub(crate) async fn ask<P: Serialize>(
        &self,
        method: &str,
        params: impl FnOnce(Option<Like>) -> P,
        invocation: &mut Invocation,
    ) -> Result<Option<Json>, Problem> {
        // A run that keeps nothing inspects every plugin anew.
        if self.no_daemon || invocation.globals.no_cache {
            return Ok(None);
        }
        let ready = invocation.config()?;
        let cwd = &invocation.environment.cwd;
        let Some(socket) = ready.socket(cwd).filter(|socket| socket.exists()) else {
            return Ok(None);
        };
        let mut client = match Client::connect(&socket).await {
            Ok(Some(client)) => client,
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::warn!(code = error.code(), "answered here: {error}");
                return Ok(None);
            }
        };
        let config = ready.digest(cwd);
        let params = params(Some(Like { config }));
        match client.ask::<_, Answered>(method, &params, PATIENCE).await {
            Ok(answered) => {
                tracing::info!(socket = %socket.display(), "answered by the resident runtime");
                invocation.mention_refused(&answered.refused);
                Ok(Some(answered.answer))
            }
            Err(ClientError::Refused(refusal)) if TAKEN_OVER.contains(&refusal.code.as_str()) => {
                tracing::info!(code = refusal.code, "answered here: {}", refusal.message);
                Ok(None)
            }
            Err(error) => {
                if let ClientError::Refused(refusal) = &error {
                    invocation.mention_refused(&refusal.refused);
                }
                Err(error.into())
            }
        }
    }
}

impl At {
    /// Asks the resident runtime, which must be there.
    pub(crate) async fn ask<P: Serialize, T: DeserializeOwned>(
        &self,
        method: &str,
        params: &P,
        invocation: &mut Invocation,
    ) -> Result<T, Problem> {
        let ready = invocation.config()?;
        let cwd = &invocation.environment.cwd;
        let named = self.socket.as_ref().map(|socket| cwd.join(socket));
        let Some(socket) = named.or_else(|| ready.socket(cwd)) else {
            let text = "nobody knows where the socket is: neither HOME is set nor a project there";
            return Err(Problem::usage("daemon.absent", text).help("name it with --socket"));
        };
        let Some(mut client) = Client::connect(&socket).await? else {
            let text = format!("no resident runtime listens on {}", socket.display());
            return Err(Problem::failed("daemon.absent", text).help("`kodex serve` starts one"));
        };
        Ok(client.ask(method, params, PATIENCE).await?)
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => refusal.into(),
            error => Self::failed(error.code(), error.to_string()),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let exit = if refusal.usage {
            Exit::Usage
        } else {
            Exit::Failed
        };
        let mut found = Diagnostic::error(refusal.code, refusal.message);
        found.hint = refusal.hint;
        Self::new(exit, found)
    }
}
