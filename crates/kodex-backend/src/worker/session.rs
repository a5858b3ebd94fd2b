//! One life of a process: start, handshake, calls, end. Its future belongs to the worker.

use std::sync::Arc;

use kodex_plugin::{Context, PluginError, wire::method};
use tokio::sync::watch;

use super::{
    handshake::handshake,
    link::Link,
    pump::{Over, Pump, within},
    shared::{Phase, Shared},
    start::start,
};
use crate::{codes, restarts::Event, supervise::Exit};

/// Lives once, and says afterwards what is to be known of it.
pub(super) async fn session(
    shared: Arc<Shared>,
    context: Context,
    mut stop: watch::Receiver<bool>,
) {
    let guard = Abandoned(&shared);
    let outcome = life(&shared, &context, &mut stop).await;
    std::mem::forget(guard);
    shared.retire();
    let event = match &outcome {
        Ok(()) => Event::Stopped,
        Err(_) => Event::Died((shared.options.random)()),
    };
    shared.decide(event);
    shared.phase.send_replace(match outcome {
        Ok(()) => Phase::Stopped,
        Err(error) => Phase::Idle(Some(error)),
    });
}

/// Ends the process when its session is dropped in the middle: the runtime is going away, or a
/// service of the host panicked.
struct Abandoned<'a>(&'a Shared);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        let error = match panicked {
            true => {
                codes::EXITED.error("the host failed while it served the process, and ended it")
            }
            false => codes::STOPPED.error("the runtime that drove the process is gone"),
        };
        self.0.kill(&error);
        self.0.phase.send_replace(match panicked {
            true => {
                self.0.decide(Event::Died(0.5));
                Phase::Idle(Some(error))
            }
            false => Phase::Stopped,
        });
    }
}

/// Ends well only when it was asked to end.
async fn life(
    shared: &Shared,
    context: &Context,
    stop: &mut watch::Receiver<bool>,
) -> Result<(), PluginError> {
    let options = &shared.options;
    let plugin = &shared.manifest.name;
    let running = start(plugin, &shared.root, &shared.command, options)?;
    let (link, log) = Link::new(
        running,
        shared.limits.clone(),
        options.times,
        Arc::clone(&options.clock),
        Arc::clone(&context.host),
    );
    let link = Arc::new(link);
    shared.adopt(&link);
    let mut pump = Pump::new(&link, log);

    let ready = tokio::select! {
        biased;
        over = pump.run(&link) => Err(Some(over)),
        result = handshake(&link, context, &options.host) => {
            result.map_err(|error| Some(Over::Fault(error)))
        }
        _ = stop.wait_for(|stop| *stop) => Err(None),
    };
    let over = match ready {
        Ok(()) => {
            shared.phase.send_replace(Phase::Up(Arc::clone(&link)));
            tokio::select! {
                biased;
                over = pump.run(&link) => Some(over),
                _ = stop.wait_for(|stop| *stop) => None,
            }
        }
        Err(over) => over,
    };
    match over {
        None => {
            shut_down(shared, &link, &mut pump).await;
            Ok(())
        }
        Some(Over::Gone) => Err(bury(&link, &mut pump).await),
        Some(Over::Fault(error)) => {
            shared.phase.send_replace(Phase::Ending);
            let error = with_log(error, &link, &mut pump);
            link.close(&error);
            link.outbound().close();
            link.group.end(options.times.term_grace).await;
            pump.read_last_log(&link);
            Err(error)
        }
    }
}

/// The process is gone by itself: what it had answered counts, then everyone learns how it ended.
async fn bury(link: &Link, pump: &mut Pump) -> PluginError {
    pump.read_rest(link);
    let exit = link.group.end(std::time::Duration::ZERO).await;
    if let Some(error) = link.closed() {
        return error;
    }
    let code = match exit {
        Exit::Signal(_) => codes::KILLED_BY_SIGNAL,
        Exit::Code(_) | Exit::Unknown => codes::EXITED,
    };
    let half = match link.inbound().partial().len() {
        0 => String::new(),
        n => format!(" in the middle of a line, after {n} bytes of it"),
    };
    let error = with_log(code.error(format!("the process {exit}{half}")), link, pump);
    link.close(&error);
    error
}

fn with_log(mut error: PluginError, link: &Link, pump: &mut Pump) -> PluginError {
    pump.read_last_log(link);
    if let Some(line) = link.tail().last_line() {
        error.message.push_str("; the last line of its log: \"");
        error.message.push_str(&line);
        error.message.push('"');
    }
    error
}

/// Asks the process to finish, and ends what does not.
async fn shut_down(shared: &Shared, link: &Arc<Link>, pump: &mut Pump) {
    shared.phase.send_replace(Phase::Ending);
    let times = &shared.options.times;
    let deadline_at = link.clock.now() + times.shutdown * 2;
    let asking = async {
        if let Ok(flight) = link.request(method::SHUTDOWN, "{}", deadline_at) {
            let _ = flight.await;
        }
        link.outbound().close();
        std::future::pending::<()>().await;
    };
    within(times.shutdown, async {
        tokio::select! {
            _ = pump.run(link) => {}
            () = asking => {}
        }
    })
    .await;
    link.close(&codes::STOPPED.error("the plugin was deactivated"));
    link.outbound().close();
    link.group.end(times.term_grace).await;
    pump.read_last_log(link);
}
