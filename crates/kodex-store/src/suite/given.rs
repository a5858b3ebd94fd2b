//! What a case is given: a store, names of its own, a clock, and short ways to ask and to compare.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use kodex_plugin::{Clock, PluginName};
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use super::{BackDoor, Stand};
use crate::{
    Access, Bounds, Engine, Namespace, Rows, Statement, Step, Store, StoreError, Value,
    journal::{StepKind, checksum},
    state::{Lease, OnlyIf, Write, Written},
};

/// A clock whose monotonic time is real, because engines stop statements after real time, and whose wall
/// clock stands still until a case moves it.
#[derive(Debug)]
pub struct SuiteClock {
    unix_ms: AtomicU64,
}

impl Default for SuiteClock {
    fn default() -> Self {
        Self {
            unix_ms: AtomicU64::new(1_767_225_600_000),
        }
    }
}

impl SuiteClock {
    /// Moves the wall clock.
    pub fn advance_ms(&self, ms: u64) {
        self.unix_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Moves the wall clock back, as people and time servers do.
    pub fn set_back_ms(&self, ms: u64) {
        self.unix_ms.fetch_sub(ms, Ordering::SeqCst);
    }
}

impl Clock for SuiteClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is a clock; the statements of the suite run in real time"
    )]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::SeqCst)
    }
}

/// Runs a future beside the case. Each is awaited or aborted by the case that started it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the suite; its callers await or abort"
)]
pub(super) fn spawn<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(future)
}

/// The longest that anything in a case may take.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .expect("it ends within 20 seconds")
}

#[derive(Clone)]
pub(super) struct Given {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<SuiteClock>,
    /// A plugin that no other case has.
    pub(super) plugin: PluginName,
    /// Another one.
    pub(super) other: PluginName,
    pub(super) door: BackDoor,
}

impl Given {
    pub(super) fn new(stand: &Stand, clock: Arc<SuiteClock>, case: usize) -> Self {
        let name = |text: String| PluginName::new(text).expect("is a plugin name");
        Self {
            store: Arc::clone(&stand.store),
            door: Arc::clone(&stand.door),
            clock,
            plugin: name(format!("case{case}")),
            other: name(format!("other{case}")),
        }
    }

    pub(super) fn is(&self, engine: Engine) -> bool {
        self.store.engine() == engine
    }

    pub(super) async fn space(&self, access: Access) -> Arc<dyn Namespace> {
        self.space_of(&self.plugin, access).await
    }

    pub(super) async fn space_of(&self, plugin: &PluginName, access: Access) -> Arc<dyn Namespace> {
        soon(self.store.namespace(plugin, access))
            .await
            .expect("the namespace opens")
    }

    /// A namespace for writing with this schema.
    pub(super) async fn with(&self, schema: &[&str]) -> Arc<dyn Namespace> {
        let migrate = self.space(Access::Migrate).await;
        for statement in schema {
            run(&*migrate, statement).await;
        }
        self.space(Access::Write).await
    }

    pub(super) async fn set(&self, key: &str, value: &str) -> u64 {
        match self.write(key, Some(value), OnlyIf::Always).await {
            Ok(Written::Done { version }) => version,
            other => panic!("set {key:?}: {other:?}"),
        }
    }

    pub(super) async fn write(
        &self,
        key: &str,
        value: Option<&str>,
        only_if: OnlyIf,
    ) -> Result<Written, StoreError> {
        self.write_with(key, value, None, only_if, None).await
    }

    pub(super) async fn write_with(
        &self,
        key: &str,
        value: Option<&str>,
        ttl_ms: Option<u64>,
        only_if: OnlyIf,
        under: Option<&Lease>,
    ) -> Result<Written, StoreError> {
        let value = value.map(raw);
        let write = Write {
            key,
            value: value.as_deref(),
            ttl_ms,
            only_if,
            under,
        };
        soon(self.store.state().write(&self.plugin, &write)).await
    }

    /// The value of a key as JSON text.
    pub(super) async fn value(&self, key: &str) -> Option<String> {
        self.value_of(&self.plugin, key).await
    }

    pub(super) async fn value_of(&self, plugin: &PluginName, key: &str) -> Option<String> {
        let entry = soon(self.store.state().read(plugin, key)).await;
        entry
            .expect("the value is read")
            .map(|entry| entry.value.get().to_owned())
    }

    /// Applies steps one after the other; gives the id of the last.
    pub(super) async fn apply(&self, steps: &[Step]) -> Option<String> {
        let mut after = None;
        for step in steps {
            let applied = soon(
                self.store
                    .ledger()
                    .apply(&self.plugin, step, after.as_deref()),
            );
            after = Some(applied.await.expect("the step is applied").id);
        }
        after
    }
}

pub(super) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("is JSON")
}

/// A step from its parts.
pub(super) fn step(file: &str, text: &str) -> Step {
    let kind = if text.contains("kodex: no-transaction") {
        StepKind::Bare
    } else if text.contains("kodex: code") {
        StepKind::Code
    } else {
        StepKind::Sql
    };
    Step {
        number: file[..4].parse().expect("begins with a number"),
        file: file.to_owned(),
        kind,
        text: text.to_owned(),
        checksum: checksum(text.as_bytes()),
    }
}

/// Runs a statement that must succeed.
pub(super) async fn run(space: &dyn Namespace, text: &str) -> Rows {
    run_with(space, text, []).await
}

pub(super) async fn run_with(
    space: &dyn Namespace,
    text: &str,
    params: impl IntoIterator<Item = Value>,
) -> Rows {
    match attempt(space, Statement::with(text, params)).await {
        Ok(rows) => rows,
        Err(error) => panic!("{text}: {error}"),
    }
}

pub(super) async fn attempt(
    space: &dyn Namespace,
    statement: Statement,
) -> Result<Rows, StoreError> {
    soon(space.run(&statement, &Bounds::default())).await
}

/// The code of a statement that must fail.
pub(super) async fn code(space: &dyn Namespace, text: &str) -> &'static str {
    match attempt(space, Statement::new(text)).await {
        Err(error) => error.code(),
        Ok(_) => "ok",
    }
}

/// The only value of an answer of one row and one column.
pub(super) fn only(rows: &Rows) -> &Value {
    assert_eq!((rows.rows.len(), rows.columns.len()), (1, 1), "one value");
    &rows.rows[0][0]
}

/// How many rows a table has.
pub(super) async fn n_rows(space: &dyn Namespace, table: &str) -> i64 {
    match only(&run(space, &format!("SELECT count(*) FROM {table}")).await) {
        Value::Integer(n) => *n,
        other => panic!("a count is no {other:?}"),
    }
}

/// The values of one column as texts.
pub(super) fn texts(rows: &Rows) -> Vec<String> {
    rows.rows
        .iter()
        .map(|row| match &row[0] {
            Value::Text(text) => text.clone(),
            Value::Integer(whole) => whole.to_string(),
            other => format!("{other:?}"),
        })
        .collect()
}
