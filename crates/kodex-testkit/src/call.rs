//! Calling a plugin without an async runtime: the thread parks until the answer is there.
//!
//! A plugin whose futures need a runtime of their own (timers, sockets) is called inside one.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context as Poller, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use kodex_plugin::{
    Call, Context, Deadline, Failure, Json, Plugin, PluginError, Reply, Request, RequestKind,
};

/// How long a call may take before it counts as stuck. Long enough for a loaded machine, short
/// enough that a test run ends.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread; nothing when it is not done within `limit`, in which case it was
/// dropped, as the host does at a deadline.
///
/// ```
/// use std::time::Duration;
/// use kodex_testkit::block_on;
/// assert_eq!(block_on(async { 42 }, Duration::from_secs(1)), Some(42));
/// assert_eq!(block_on(std::future::pending::<()>(), Duration::from_millis(1)), None);
/// ```
pub fn block_on<F: Future>(future: F, limit: Duration) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut poller = Poller::from_waker(&waker);
    let mut future = pin!(future);
    let due_at = now() + limit;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut poller) {
            return Some(output);
        }
        let left = due_at.saturating_duration_since(now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the bound on a stuck call is real time, or a test would hang with its clock"
)]
fn now() -> Instant {
    Instant::now()
}

/// Waits for the answer of a call, at most [`CALL_LIMIT`].
///
/// # Errors
/// What the plugin answered, or [`Failure::Timeout`] with code `testkit.call.stuck`.
///
/// ```
/// use kodex_plugin::Call;
/// use kodex_testkit::finish;
/// assert_eq!(finish(Call::Ready(Ok(1))), Ok(1));
/// assert_eq!(finish(Call::pending(async { Ok(2) })), Ok(2));
/// ```
pub fn finish<T>(call: Call<'_, T>) -> Result<T, PluginError> {
    match call {
        Call::Ready(answer) => answer,
        Call::Pending(future) => block_on(future, CALL_LIMIT).unwrap_or_else(|| {
            Err(PluginError::new(
                Failure::Timeout,
                "testkit.call.stuck",
                format!("the call was not answered within {CALL_LIMIT:?}"),
            ))
        }),
    }
}

/// Activates a plugin with a context, usually from
/// [`FakeHost::context`](crate::FakeHost::context).
///
/// # Errors
/// What the plugin answered.
///
/// ```
/// use kodex_plugin::{Define, Json};
/// use kodex_testkit::{FakeHost, activate};
/// let plugin = Define::new("quiet", "0.1.0", "Says nothing.").build()?;
/// activate(&*plugin, FakeHost::new().context(plugin.manifest().name.clone(), Json::object()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn activate(plugin: &dyn Plugin, context: Context) -> Result<(), PluginError> {
    finish(plugin.activate(context))
}

/// Calls a hook and waits for the reply, at most [`CALL_LIMIT`]. A panic of the plugin passes
/// through; see [`capture`](crate::capture).
///
/// # Errors
/// What the plugin answered.
///
/// ```
/// use kodex_plugin::{Define, Reply};
/// use kodex_testkit::call_hook;
/// let plugin = Define::new("quiet", "0.1.0", "Says nothing.").build()?;
/// assert_eq!(call_hook(&*plugin, "prompt.submit", serde_json::json!({}))?, Reply::nothing());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn call_hook(
    plugin: &dyn Plugin,
    name: &str,
    payload: impl Into<Json>,
) -> Result<Reply, PluginError> {
    call(plugin, RequestKind::Hook, name, &payload.into())
}

/// Calls a tool and waits for its output, at most [`CALL_LIMIT`].
///
/// # Errors
/// What the plugin answered.
///
/// ```
/// use kodex_plugin::{Define, Json, Reply, Tool};
/// use kodex_testkit::call_tool;
/// let plugin = Define::new("echo", "0.1.0", "Echoes.")
///     .tool(Tool::new("echo", "Gives back its input.")?, |input| Ok(input.clone()))
///     .build()?;
/// let reply = call_tool(&*plugin, "echo", serde_json::json!({"a": 1}))?;
/// assert_eq!(reply, Reply::from(serde_json::json!({"a": 1})));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn call_tool(
    plugin: &dyn Plugin,
    name: &str,
    input: impl Into<Json>,
) -> Result<Reply, PluginError> {
    call(plugin, RequestKind::Tool, name, &input.into())
}

pub(crate) fn call(
    plugin: &dyn Plugin,
    kind: RequestKind,
    name: &str,
    payload: &Json,
) -> Result<Reply, PluginError> {
    finish(plugin.call(request(kind, name, payload)))
}

pub(crate) fn request<'a>(kind: RequestKind, name: &'a str, payload: &'a Json) -> Request<'a> {
    Request {
        kind,
        name,
        payload,
        deadline: Deadline {
            at: now() + CALL_LIMIT,
            timeout: CALL_LIMIT,
        },
        caller: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Ready after another thread has sent something and woken the waker it was given.
    async fn from_another_thread() -> u32 {
        let (wakers, given) = mpsc::channel::<Waker>();
        let (answers, answer) = mpsc::channel();
        let other = thread::spawn(move || {
            let waker = given.recv().expect("the future was polled");
            answers.send(7).expect("the future still waits");
            waker.wake();
        });
        let mut polled = false;
        let got = std::future::poll_fn(|poller| {
            if !polled {
                polled = true;
                wakers
                    .send(poller.waker().clone())
                    .expect("the thread waits");
                return Poll::Pending;
            }
            answer.try_recv().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        other.join().expect("the thread ended well");
        got
    }

    #[test]
    fn a_wake_from_another_thread_is_seen() {
        assert_eq!(block_on(from_another_thread(), CALL_LIMIT), Some(7));
    }

    #[test]
    fn a_stuck_future_is_given_up_and_dropped() {
        struct Dropped(mpsc::Sender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (sender, dropped) = mpsc::channel();
        let stuck = async move {
            let _guard = Dropped(sender);
            std::future::pending::<()>().await;
        };
        assert_eq!(block_on(stuck, Duration::from_millis(1)), None);
        assert!(dropped.try_recv().is_ok());
    }

    #[test]
    fn pending_errors_come_through() {
        let call: Call<'_, ()> = Call::pending(async { Err(PluginError::raised("later")) });
        assert_eq!(finish(call), Err(PluginError::raised("later")));
    }
}
