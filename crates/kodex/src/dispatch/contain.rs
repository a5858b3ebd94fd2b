//! Calls into a plugin's own code that are no hook and no tool: starting it, stopping it, the data steps
//! of an upgrade. A panic, at once or while it is awaited, becomes an error of that plugin, and each call
//! has its time.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use kodex_plugin::{Call, Failure, PluginError};

use super::guard::panicked;

/// Calls, waits no longer than `timeout`, and says `late` when that was not enough.
pub(crate) async fn contained<'a, T>(
    call: impl FnOnce() -> Call<'a, T>,
    timeout: Duration,
    late: (&'static str, &'static str),
) -> Result<T, PluginError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Call::Ready(result)) => result,
        Err(panic) => Err(panicked(&*panic)),
        Ok(Call::Pending(future)) => match tokio::time::timeout(timeout, caught(future)).await {
            Ok(result) => result,
            Err(_) => {
                let (code, text) = late;
                let text = format!("{text} within {} ms", timeout.as_millis());
                Err(PluginError::new(Failure::Timeout, code, text))
            }
        },
    }
}

/// A plugin's answer that comes later; a panic on the way is one.
pub(super) async fn caught<T>(
    mut future: Pin<Box<dyn Future<Output = Result<T, PluginError>> + Send + '_>>,
) -> Result<T, PluginError> {
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        },
    )
    .await
}
