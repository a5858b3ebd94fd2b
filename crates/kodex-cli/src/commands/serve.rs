//! `kodex serve`: the runtime that stays: it beats, works off runs and jobs, and answers on its socket.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kodex::contract::span::parse_span;
use kodex_server::{Control, Options, ServeError};

use crate::{
    config::{LogFormat, Ready, address},
    invocation::Invocation,
    lifeline,
    problem::{Exit, Problem},
    render::log,
    signals::{HANG_UP, Signals},
    verb::Verb,
    work,
};

/// Stay, beat, and execute agent runs and jobs until told to end
///
/// SIGTERM or Ctrl-C ends it: nothing new is begun, what runs may go on for the grace and is then given back to
/// other nodes. A second one gives it back at once. SIGHUP loads the plugins again.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Answer probes and metrics here, such as 127.0.0.1:7340
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    http: Option<SocketAddr>,
    /// Let that address be one that other machines reach
    #[arg(long)]
    expose_http: bool,
    /// Listen for `kodex` on this socket (default: in the project's .kodex/run)
    #[arg(long, value_name = "PATH", conflicts_with = "no_socket")]
    socket: Option<PathBuf>,
    /// Listen on no socket
    #[arg(long)]
    no_socket: bool,
    /// How long what runs may go on at the end, such as 30s
    #[arg(long, value_name = "SPAN", value_parser = span)]
    grace: Option<Duration>,
    /// How long from one heartbeat to the next, such as 60s
    #[arg(long, value_name = "SPAN", value_parser = beat)]
    beat: Option<Duration>,
    /// How the log on standard error is written
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// A span as everywhere; a bare number is seconds.
fn span(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    parse_span(text).map_err(|error| error.to_string())
}

fn beat(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("a beat is longer than zero".to_owned()),
        every => Ok(every),
    }
}

impl Verb for Serve {
    const NAME: &'static str = "serve";
    const STAYS: bool = true;

    async fn run(self, invocation: &mut Invocation) -> Result<Exit, Problem> {
        // From here on a signal ends it well.
        let mut signals = Signals::listen_for_reload();
        let ready = invocation.config()?;
        let format = self.log_format.unwrap_or(ready.serve.log_format);
        let filters = invocation.environment.log();
        log::install_to_stay(
            invocation.globals.verbose,
            filters.as_deref(),
            format,
            invocation.stderr,
        );
        check_programs(&ready, invocation)?;
        let options = self.options(&ready, invocation)?;
        let control = Control::default();
        lifeline::tidy_up().await;
        let lifeline = lifeline::keep();
        tokio::pin!(lifeline);
        let runtime = tokio::select! {
            runtime = invocation.open_to_stay() => runtime?,
            never = &mut lifeline => match never {},
            () = stopped(&mut signals) => return Ok(Exit::Fine),
        };
        let serving = kodex_server::serve(runtime, options, &control);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                never = &mut lifeline => match never {},
                ended = &mut serving => return ended.map(|()| Exit::Fine).map_err(Problem::from),
                signal = signals.next() => match signal {
                    HANG_UP => control.reload(),
                    _ => control.stop(),
                },
            }
        }
    }
}

async fn stopped(signals: &mut Signals) {
    while signals.next().await == HANG_UP {}
}

impl Serve {
    fn options(&self, ready: &Ready, invocation: &mut Invocation) -> Result<Options, Problem> {
        let store = invocation.need_store()?;
        let cwd = &invocation.environment.cwd;
        let named = self.socket.as_ref().map(|socket| cwd.join(socket));
        let socket = match self.no_socket {
            true => None,
            false => named.or_else(|| ready.socket(cwd)),
        };
        Ok(Options {
            socket,
            http: self.http.or(ready.serve.http),
            expose_http: self.expose_http,
            beat: self.beat.unwrap_or(ready.serve.beat),
            heartbeat: ready.work.heartbeat.clone(),
            grace: self.grace.unwrap_or(ready.serve.grace),
            limits: ready.guard.limits.clone(),
            config: ready.digest(cwd),
            ..Options::new(store)
        })
    }
}

/// Runs would fail one by one; better to say so now.
fn check_programs(ready: &Ready, invocation: &Invocation) -> Result<(), Problem> {
    let runner = ready
        .work
        .runner
        .iter()
        .map(|program| ("runner".to_owned(), program));
    let commands = ready.work.commands.iter();
    let commands =
        commands.map(|(name, program)| (format!("destinations.command.{name}"), program));
    for (table, program) in runner.chain(commands) {
        if work::found(program, &invocation.environment).is_none() {
            let text = format!(
                "the program {} of [{table}] is not there, or is no program",
                program.program.display()
            );
            return Err(Problem::usage("config.program", text)
                .help("a bare name is looked up in PATH; anything else is a path from the project's folder"));
        }
    }
    Ok(())
}

impl From<ServeError> for Problem {
    fn from(error: ServeError) -> Self {
        let text = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error {
            ServeError::HttpExposed { .. } => Self::usage(error.code(), text),
            _ => Self::failed(error.code(), text),
        }
    }
}
