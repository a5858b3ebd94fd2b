//! One run of the program: parse, do, print once, end what was started.

use std::{
    ffi::OsString,
    io::{IsTerminal, Write},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use clap::{ArgMatches, FromArgMatches};
use kodex::Runtime;

use crate::{
    args::{self, Color, Globals},
    commands::VERBS,
    config::Ready,
    environment::Environment,
    problem::{Exit, Problem},
    render,
    session::Scratch,
    signals::Signals,
    verb::Row,
};

/// How long plugins may take to end well after Ctrl-C; then they are ended.
const GRACE_AFTER_SIGNAL: Duration = Duration::from_secs(2);

/// What a verb works with.
pub(crate) struct Invocation {
    pub(crate) globals: Globals,
    pub(crate) environment: Environment,
    /// Printed when the verb is done, so that nothing is half written when it fails.
    pub(crate) out: String,
    pub(crate) stdout: Screen,
    /// Nobody reads standard output any more.
    pub(crate) reader_left: bool,
    pub(crate) stderr: Screen,
    /// The configuration, once it was asked for.
    pub(crate) ready: Option<Rc<Ready>>,
    /// Set when a runtime was opened, so that it is ended however the verb ends.
    pub(crate) runtime: Option<Runtime>,
    /// Where plugins keep what they own, once it was asked for.
    pub(crate) store: Option<Arc<dyn kodex::store::Store>>,
    /// Set by verbs that are there for databases which are not as they should be.
    pub(crate) mends_databases: bool,
    /// A cache that goes away with this run.
    pub(crate) scratch: Option<Scratch>,
}

/// What is known of an output stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) is_terminal: bool,
    pub(crate) is_styled: bool,
}

impl Screen {
    fn new(stream: &(impl IsTerminal + anstream::stream::RawStream), color: Color) -> Self {
        let is_styled = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
        };
        Self {
            is_terminal: IsTerminal::is_terminal(stream),
            is_styled,
        }
    }
}

/// Runs what was typed.
pub(crate) fn run(argv: Vec<OsString>) -> Exit {
    let matches = match args::command().try_get_matches_from(args::complete_prefixes(argv)) {
        Ok(matches) => matches,
        Err(error) => {
            // Nobody is left to tell when this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Fine
            };
        }
    };
    match chosen(&matches) {
        Ok((row, below, globals)) => Invocation::new(globals, row.stays).perform(row, below),
        Err(error) => {
            let _ = error.print();
            Exit::Usage
        }
    }
}

fn chosen(matches: &ArgMatches) -> Result<(&'static Row, &ArgMatches, Globals), clap::Error> {
    let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
    let (name, below) = matches.subcommand().ok_or_else(missing)?;
    let row = VERBS
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(missing)?;
    Ok((row, below, Globals::from_arg_matches(below)?))
}

impl Invocation {
    fn new(globals: Globals, stays: bool) -> Self {
        let stdout = Screen::new(&std::io::stdout(), globals.color);
        let stderr = Screen::new(&std::io::stderr(), globals.color);
        let environment = Environment::read();
        // One that stays says itself how its log is written.
        if !stays {
            render::log::install(globals.verbose, environment.log().as_deref(), stderr);
        }
        Self {
            globals,
            environment,
            out: String::new(),
            stdout,
            reader_left: false,
            stderr,
            ready: None,
            runtime: None,
            store: None,
            mends_databases: false,
            scratch: None,
        }
    }

    fn perform(mut self, row: &Row, matches: &ArgMatches) -> Exit {
        let mut tokio = match row.stays {
            true => tokio::runtime::Builder::new_multi_thread(),
            false => tokio::runtime::Builder::new_current_thread(),
        };
        let tokio = match tokio.enable_all().build() {
            Ok(tokio) => tokio,
            Err(error) => {
                let text = format!("the event loop cannot be started: {error}");
                return self.report(
                    &Problem::failed("cli.event_loop", text)
                        .help("is the limit of open files reached?"),
                );
            }
        };
        let exit = tokio.block_on(self.work(row, matches));
        // Tasks that are left hold processes, which end with them.
        tokio.shutdown_background();
        exit
    }

    async fn work(&mut self, row: &Row, matches: &ArgMatches) -> Exit {
        // One that stays listens itself; a signal that two listen to would be lost to it.
        let (done, mut signals) = if row.stays {
            let done = (row.run)(matches, self).await;
            (Ok(done), Signals::listen())
        } else {
            let mut signals = Signals::listen();
            let done = tokio::select! {
                biased;
                signal = signals.next() => Err(signal),
                done = (row.run)(matches, self) => Ok(done),
            };
            (done, signals)
        };
        let exit = match done {
            Ok(Ok(exit)) => self.flush().err().unwrap_or(exit),
            Ok(Err(problem)) => self.report(&problem),
            Err(signal) => Exit::Signalled(signal),
        };
        tokio::select! {
            biased;
            signal = signals.next() => Exit::Signalled(signal),
            () = self.end(exit) => exit,
        }
    }

    /// Ends every process that was started.
    async fn end(&mut self, exit: Exit) {
        if let Some(runtime) = self.runtime.take() {
            let shutdown = runtime.shutdown();
            let is_over = match exit {
                Exit::Signalled(_) => tokio::time::timeout(GRACE_AFTER_SIGNAL, shutdown)
                    .await
                    .is_ok(),
                _ => {
                    shutdown.await;
                    true
                }
            };
            if is_over {
                // All that is left is memory, which goes with the process.
                std::mem::forget(runtime);
            }
        }
        if let Some(store) = self.store.take() {
            let closed = tokio::time::timeout(GRACE_AFTER_SIGNAL, store.close()).await;
            if let Ok(Err(error)) = closed {
                tracing::warn!(code = error.code(), "closing the store: {error}");
            }
        }
        self.scratch = None;
    }

    /// Prints what the verb wrote so far. A reader that went away is no error: it has what it wanted.
    ///
    /// # Errors
    /// The status to end with when the output cannot be written, for example on a full disk.
    pub(crate) fn flush(&mut self) -> Result<(), Exit> {
        let text = std::mem::take(&mut self.out);
        let mut stdout = std::io::stdout().lock();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        match written.map_err(|error| (error.kind(), error)) {
            Ok(()) => Ok(()),
            Err((std::io::ErrorKind::BrokenPipe, _)) => {
                self.reader_left = true;
                Ok(())
            }
            Err((_, error)) => {
                let text = format!("the result cannot be written to standard output: {error}");
                Err(self.report(&Problem::failed("cli.output", text)))
            }
        }
    }

    /// Shows why there is no result.
    pub(crate) fn report(&self, problem: &Problem) -> Exit {
        render::finding::print(&problem.found, problem.text.as_deref(), self.stderr);
        problem.exit
    }
}
