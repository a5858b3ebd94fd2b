//! A plugin as a process: lines of JSON-RPC in, calls of a [`Plugin`], lines out.
//!
//! One thread and no runtime. Lines that came together are taken together, their calls begin in
//! their order, and their answers leave in one write. A call that answers with
//! [`Call::Pending`] may wait for the host, and others run meanwhile; it may also yield. It cannot
//! wait for another thread or a timer, because this thread sleeps in a read: a plugin that needs
//! those brings a runtime.
//!
//! This module knows nothing of the plugin around it and can be copied as it is.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use kodex_plugin::{
    Call, Context, Json, Limits, Plugin, RequestKind, json,
    wire::{
        self, CONTRACT_VERSION, ContractOffer, Frame, HOST_FEATURES, Id, Initialized, Party, method,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

mod lines;
mod outbox;
mod running;

use lines::{Line, Lines};
use outbox::{Outbox, Problem};
use running::{Running, Work};

/// Serves until the host says goodbye or closes the input.
///
/// # Errors
/// When input or output breaks.
pub fn serve<W: Write + Send + 'static>(
    plugin: &dyn Plugin,
    input: impl Read,
    output: W,
) -> io::Result<()> {
    let limits = Limits::default();
    let outbox = Arc::new(Outbox::new(output, limits.frame_bytes));
    let mut lines = Lines::new(input, limits.frame_bytes);
    let mut worker = Worker {
        plugin,
        limits,
        running: Running::new(Arc::clone(&outbox)),
        outbox,
        phase: Phase::New,
    };
    while worker.phase != Phase::Over {
        // Nothing begins before all lines that are here were seen: one may cancel an earlier one.
        // Except beginning and end, on which all that follows depends.
        if !lines.has_line() || matches!(worker.phase, Phase::Activating | Phase::Ending) {
            worker.work()?;
            if worker.phase == Phase::Over {
                break;
            }
        }
        match lines.next()? {
            Line::Text(line) => worker.receive(line)?,
            Line::TooLong => worker
                .outbox
                .refuse(None, &Problem::too_long(&worker.limits))?,
            Line::End => break,
        }
    }
    worker.outbox.flush()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Activating,
    Ready,
    Ending,
    Over,
}

struct Worker<'p, W> {
    plugin: &'p dyn Plugin,
    limits: Limits,
    outbox: Arc<Outbox<W>>,
    running: Running<'p, W>,
    phase: Phase,
}

/// Parameters of `call`; the payload stays as it came.
#[derive(Deserialize)]
struct CallParams<'a> {
    kind: RequestKind,
    name: String,
    #[serde(borrow)]
    payload: &'a RawValue,
    timeout_ms: u64,
}

impl<W: Write + Send + 'static> Worker<'_, W> {
    /// Lets everything run that can, and sends what came of it.
    fn work(&mut self) -> io::Result<()> {
        for done in self.running.run()? {
            self.phase = match done {
                running::Done::Activated(true) => Phase::Ready,
                running::Done::Activated(false) => Phase::New,
                running::Done::Deactivated => Phase::Over,
            };
        }
        self.outbox.flush()
    }

    fn receive(&mut self, line: &[u8]) -> io::Result<()> {
        if let Some((id, params)) = quick_call(line, &self.limits) {
            let begun = self.ready().and_then(|()| self.call(&id, params));
            return begun.or_else(|problem| self.outbox.refuse(Some(&id), &problem));
        }
        match wire::parse(line, &self.limits) {
            Ok(Frame::Request { id, method, params }) => {
                if method == method::SHUTDOWN {
                    // What came before may still answer; only who would have to wait is cut off.
                    self.work()?;
                    self.running.cancel_all()?;
                }
                let begun = self.request(&id, &method, params);
                begun.or_else(|problem| self.outbox.refuse(Some(&id), &problem))
            }
            Ok(Frame::Notification { method, params }) => {
                let cancel = |params: &RawValue| serde_json::from_str::<Cancel>(params.get());
                match params.map(cancel) {
                    Some(Ok(cancel)) if method == method::CANCEL => self.running.cancel(&cancel.id),
                    _ => Ok(()),
                }
            }
            Ok(Frame::Response { id, result }) => {
                self.outbox.answered(&id, result);
                Ok(())
            }
            Err(error) => self.outbox.refuse(None, &Problem::frame(&error)),
        }
    }

    fn request(&mut self, id: &Id, method: &str, params: Option<&RawValue>) -> Result<(), Problem> {
        match method {
            method::CALL => {
                self.ready()?;
                self.call(id, read(params)?)
            }
            method::INITIALIZE => self.initialize(id, params),
            method::SHUTDOWN => {
                self.phase = Phase::Ending;
                self.running
                    .begin(id.clone(), Work::deactivation(self.plugin));
                Ok(())
            }
            _ => Err(Problem::unknown(format!("there is no method {method:?}"))),
        }
    }

    fn ready(&self) -> Result<(), Problem> {
        match self.phase {
            Phase::Ready => Ok(()),
            _ => Err(Problem::not_initialized()),
        }
    }

    fn call(&mut self, id: &Id, params: CallParams<'_>) -> Result<(), Problem> {
        if !self.declares(params.kind, &params.name) {
            let (kind, name) = (params.kind.as_str(), params.name);
            return Err(Problem::unknown(format!(
                "the plugin has no {kind} {name:?}"
            )));
        }
        // The front door checked the whole line, and the payload with it.
        let payload = Json::checked(params.payload.to_owned());
        let timeout = Duration::from_millis(params.timeout_ms);
        let work = Work::call(self.plugin, params.kind, params.name, payload, timeout);
        self.running.begin(id.clone(), work);
        Ok(())
    }

    fn declares(&self, kind: RequestKind, name: &str) -> bool {
        let manifest = self.plugin.manifest();
        match kind {
            RequestKind::Hook => {
                let is_meant = |on: &str| on == name || on == "*";
                manifest.hooks.iter().any(|hook| is_meant(hook.on.as_str()))
            }
            RequestKind::Tool => manifest.tools.iter().any(|tool| tool.name.as_str() == name),
            _ => false,
        }
    }

    fn initialize(&mut self, id: &Id, params: Option<&RawValue>) -> Result<(), Problem> {
        if self.phase != Phase::New {
            return Err(Problem::initialized());
        }
        let params: wire::Initialize = read(params)?;
        let manifest = self.plugin.manifest();
        if params.contract.version != CONTRACT_VERSION {
            return Err(Problem::version(params.contract.version));
        }
        if params.plugin != manifest.name.as_str() {
            return Err(Problem::other_name(&params.plugin, manifest.name.as_str()));
        }
        let grants = params.grants.iter().map(|grant| grant.parse());
        let context = Context {
            plugin: manifest.name.clone(),
            config: params.context,
            grants: grants.collect::<Result<_, _>>().map_err(Problem::params)?,
            host: Arc::clone(&self.outbox) as Arc<dyn kodex_plugin::Host>,
        };
        let is_common = |feature: &&&str| params.contract.features.iter().any(|f| f == **feature);
        let answer = Initialized {
            contract: ContractOffer {
                version: CONTRACT_VERSION,
                features: HOST_FEATURES
                    .iter()
                    .filter(is_common)
                    .map(ToString::to_string)
                    .collect(),
            },
            plugin: Party {
                name: manifest.name.to_string(),
                version: manifest.version.to_string(),
            },
        };
        self.phase = Phase::Activating;
        self.running
            .begin(id.clone(), Work::activation(self.plugin, context, answer));
        Ok(())
    }
}

/// Reads a call in the form in which the host writes it, in one pass less than [`wire::parse`]. A line
/// that differs in anything, or that a bound refuses, gives nothing and goes the long way.
fn quick_call<'a>(line: &'a [u8], limits: &Limits) -> Option<(Id, CallParams<'a>)> {
    let rest = line.strip_prefix(br#"{"jsonrpc":"2.0","id":"#)?;
    let comma = rest.iter().take(21).position(|byte| *byte == b',')?;
    let (digits, rest) = rest.split_at(comma);
    let rest = rest.strip_prefix(br#","method":"call","params":"#)?;
    let params = rest.strip_suffix(b"}")?;
    json::check(line, limits).ok()?;
    let id = serde_json::from_slice::<u64>(digits).ok()?;
    // Exactly one value stands between head and tail, so nothing can be named twice.
    let params = serde_json::from_slice(params).ok()?;
    Some((Id::Number(id), params))
}

/// Parameters of `$/cancel`. The host's ids are numbers; any id is as good.
#[derive(Deserialize)]
struct Cancel {
    id: Id,
}

fn read<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<T, Problem> {
    let text = params.map_or("null", RawValue::get);
    serde_json::from_str(text).map_err(Problem::params)
}

/// The answer of a call, awaited where it is not there yet.
async fn finish<T>(call: Call<'_, T>) -> Result<T, kodex_plugin::PluginError> {
    match call {
        Call::Ready(answer) => answer,
        Call::Pending(future) => future.await,
    }
}
