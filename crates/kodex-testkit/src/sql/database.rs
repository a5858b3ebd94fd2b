//! One plugin's store, in a temporary folder or where the test says, and the small runtime that keeps its
//! deadlines.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context as Poller, Poll},
    time::{Duration, Instant},
};

use kodex_plugin::{Clock, HostError, Json, Limits, PluginName};
use kodex_store::{
    Access, Door, Engine, Namespace, Store, StoreError,
    sqlite::{SqliteOptions, SqliteStore},
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{CALL_LIMIT, HandClock, block_on};

/// How long closing may wait for running statements.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// The database of one plugin. Its folder goes away with it.
pub(crate) struct Database {
    pub(super) plugin: PluginName,
    pub(super) store: Arc<dyn Store>,
    pub(crate) door: Door,
    /// Keeps the store's deadlines, so that a test needs no async runtime. Taken out at the end.
    runtime: Option<Runtime>,
    handle: Handle,
    /// None where the store is the test's own, and stays open.
    folder: Option<TempDir>,
}

impl Database {
    pub(super) fn new(plugin: PluginName, clock: HandClock) -> Result<Self, HostError> {
        let failed = |error: std::io::Error| {
            let text = format!("plugin {plugin}: its database for the test is not made: {error}");
            HostError::new("store.unreachable", text)
        };
        let folder = TempDir::with_prefix("kodex-testkit-").map_err(failed)?;
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let options = SqliteOptions::new(folder.path().join("store"), shared);
        let opening = async move {
            let store = SqliteStore::open(options).await?;
            Ok(Arc::new(store) as Arc<dyn Store>)
        };
        let mut database = Self::on(plugin, clock, opening)?;
        database.folder = Some(folder);
        Ok(database)
    }

    /// On the store that a future opens. It runs, as everything of the store, inside the small runtime.
    pub(super) fn on(
        plugin: PluginName,
        clock: HandClock,
        opening: impl Future<Output = Result<Arc<dyn Store>, StoreError>>,
    ) -> Result<Self, HostError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .thread_name("kodex-testkit")
            .build()
            .map_err(|error| {
                let text = format!("plugin {plugin}: no runtime for its database: {error}");
                HostError::new("store.unreachable", text)
            })?;
        let handle = runtime.handle().clone();
        let store = block_on(Inside::new(&handle, opening), CALL_LIMIT).ok_or_else(stuck)??;
        let clock: Arc<dyn Clock> = match store.engine() {
            Engine::Sqlite => Arc::new(clock),
            Engine::Postgres => Arc::new(ServerTime(clock)),
        };
        Ok(Self {
            door: Door::new(plugin.clone(), clock, Limits::default().frame_bytes),
            plugin,
            store,
            runtime: Some(runtime),
            handle,
            folder: None,
        })
    }

    #[cfg(test)]
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.as_ref().expect("it has a folder").path()
    }

    /// Answers one of `db/*`.
    pub(crate) async fn serve(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        let work = self.door.serve(method, params, self.namespace());
        self.inside(work).await
    }

    async fn namespace(&self) -> Result<Arc<dyn Namespace>, HostError> {
        let opened = self.store.namespace(&self.plugin, Access::Write).await;
        opened.map_err(HostError::from)
    }

    /// Waits for the store on this thread.
    pub(super) fn wait<F: Future>(&self, work: F) -> Result<F::Output, HostError> {
        block_on(self.inside(work), CALL_LIMIT).ok_or_else(stuck)
    }

    pub(super) fn inside<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        Inside::new(&self.handle, work)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.folder.is_some() {
            // The files are closed before their folder goes away.
            let closing = pin!(self.store.close());
            let _ = block_on(Inside::new(&self.handle, closing), CLOSE_LIMIT);
        }
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would wait for its thread, which is refused where the test is asynchronous.
            runtime.shutdown_background();
        }
    }
}

/// A server does not stop with the test's clock: how long it works for a statement is real time.
#[derive(Debug)]
struct ServerTime(HandClock);

impl Clock for ServerTime {
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> u64 {
        self.0.unix_ms()
    }
}

fn stuck() -> HostError {
    let text = format!("the database did not answer within {CALL_LIMIT:?}");
    HostError::new("testkit.call.stuck", text)
}

/// Work that finds its timers, whichever thread polls it.
struct Inside<'a, F> {
    handle: &'a Handle,
    work: Pin<Box<F>>,
}

impl<'a, F> Inside<'a, F> {
    fn new(handle: &'a Handle, work: F) -> Self {
        Self {
            handle,
            work: Box::pin(work),
        }
    }
}

impl<F: Future> Future for Inside<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<F::Output> {
        let _entered = self.handle.enter();
        self.work.as_mut().poll(poller)
    }
}
