//! Connections: small pools, and what happens to a connection whose user went away in the middle.
//!
//! A [`Line`] that is dropped while a statement runs cancels it in the server and is closed; one that is
//! dropped with an open transaction rolls back first. Only what is known to be clean is used again.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use bytes::BytesMut;
use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, Runtime,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{
    CancelToken, Config, Error, Row,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{tasks::Tasks, tls::Connect};
use crate::StoreError;

/// How long a cancelled statement may take to end before its connection is given up.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long one of the store's own statements may run. They touch few rows.
const OWN: Duration = Duration::from_secs(30);
/// Most prepared statements that a connection keeps; a plugin may write its values into the text.
const N_PREPARED: usize = 256;
/// Most connections of one store at any moment; closing waits until all are back.
const N_LINES: u32 = 1 << 20;
/// What a plugin may have left behind in its session, apart from prepared statements.
const CLEAN: &str = "RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all()";

/// What all pools of a store share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) place: Arc<str>,
    pub(super) tasks: Arc<Tasks>,
    pub(super) prepares: bool,
    /// How long to wait for a connection, making it included.
    pub(super) wait: Duration,
    pub(super) tls: Connect,
    gate: Arc<Semaphore>,
    is_closing: Arc<watch::Sender<bool>>,
}

impl Shared {
    pub(super) fn new(
        place: Arc<str>,
        tasks: Arc<Tasks>,
        prepares: bool,
        wait: Duration,
        tls: Connect,
    ) -> Self {
        let gate = Arc::new(Semaphore::new(N_LINES as usize));
        let is_closing = Arc::new(watch::Sender::new(false));
        Self {
            place,
            tasks,
            prepares,
            wait,
            tls,
            gate,
            is_closing,
        }
    }

    /// Ends when the store begins to close.
    pub(super) fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut is_closing = self.is_closing.subscribe();
        async move {
            let _ = is_closing.wait_for(|is_closing| *is_closing).await;
        }
    }

    /// Lets nobody in any more and waits until everybody is out.
    pub(super) async fn close(&self, within: Duration) {
        self.is_closing.send_replace(true);
        let all = timeout(within, self.gate.acquire_many(N_LINES)).await;
        self.gate.close();
        drop(all);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.gate.is_closed() || *self.is_closing.borrow()
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NoLine {
    Closed,
    /// All are in use.
    Late,
    Refused(Error),
}

/// The connections of one role.
#[derive(Clone)]
pub(super) struct Lines {
    pool: Pool,
    shared: Shared,
}

impl Lines {
    pub(super) fn new(config: Config, n: usize, shared: Shared) -> Result<Self, StoreError> {
        // Whether a connection is alive is all that is asked here; see `Line::clean` for the rest.
        #[cfg_attr(
            not(feature = "tls"),
            expect(clippy::clone_on_copy, reason = "with TLS it is none")
        )]
        let tls = shared.tls.clone();
        let manager = Manager::from_config(config, tls, ManagerConfig::default());
        let pool = Pool::builder(manager)
            .max_size(n)
            // The last one used is the one whose process in the server is warm, and the others can go.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Internal(error.to_string()))?;
        Ok(Self { pool, shared })
    }

    /// A connection, waited for until `deadline`.
    pub(super) async fn line(&self, deadline: Option<Instant>) -> Result<Line, NoLine> {
        if self.shared.is_closed() {
            return Err(NoLine::Closed);
        }
        let Ok(permit) = Arc::clone(&self.shared.gate).try_acquire_owned() else {
            return Err(NoLine::Closed);
        };
        let wait = Instant::now() + self.shared.wait;
        let deadline = deadline.map_or(wait, |deadline| deadline.min(wait));
        let object = match timeout_at(deadline, self.pool.get()).await {
            Ok(Ok(object)) => object,
            Ok(Err(PoolError::Backend(error))) => return Err(NoLine::Refused(error)),
            Ok(Err(PoolError::Closed)) => return Err(NoLine::Closed),
            Ok(Err(_)) | Err(_) => return Err(NoLine::Late),
        };
        let used = Object::metrics(&object).recycle_count > 0;
        Ok(Line {
            object: Some(object),
            shared: self.shared.clone(),
            _permit: permit,
            clean: !used,
            in_flight: false,
            open: false,
            spoiled: false,
        })
    }

    /// Closes what has not been used for `idle`; says whether any connection is left.
    pub(super) fn shrink(&self, idle: Duration) -> bool {
        self.pool.retain(|_, metrics| metrics.last_used() < idle);
        self.pool.status().size > 0
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection in use.
pub(super) struct Line {
    object: Option<Object>,
    shared: Shared,
    _permit: OwnedSemaphorePermit,
    clean: bool,
    /// A statement may be running in the server.
    pub(super) in_flight: bool,
    /// A transaction is open.
    pub(super) open: bool,
    /// Nobody may use it again.
    pub(super) spoiled: bool,
}

impl Deref for Line {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.object
            .as_ref()
            .expect("it is taken out only when the line is dropped")
    }
}

impl Line {
    /// Whether statements may be prepared under a name.
    pub(super) fn prepares(&self) -> bool {
        self.shared.prepares
    }

    /// What stops a statement of this connection from another one.
    pub(super) fn stop(&self) -> Stop {
        Stop {
            token: self.cancel_token(),
            tls: self.shared.tls.clone(),
        }
    }

    /// Removes what an earlier user of the session may have left. It is sent ahead of what the caller sends
    /// at the same time, so it costs no round trip.
    pub(super) async fn clean(&self) -> Result<(), Error> {
        if self.clean {
            return Ok(());
        }
        self.batch_execute(CLEAN).await
    }

    /// Forgets prepared statements when there are many.
    pub(super) fn trim(&self) {
        if self.statement_cache.size() >= N_PREPARED {
            self.statement_cache.clear();
        }
    }

    /// Runs one of the store's own statements.
    pub(super) async fn rows(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<Vec<Row>, Trouble> {
        self.in_flight = true;
        let work = async {
            if self.prepares() {
                let statement = self.prepare_cached(sql).await?;
                let args: Vec<&(dyn ToSql + Sync)> = args.iter().map(|arg| arg as _).collect();
                self.query(&statement, &args).await
            } else {
                let args: Vec<(&(dyn ToSql + Sync), Type)> =
                    args.iter().map(|arg| (arg as _, arg.kind())).collect();
                self.query_typed(sql, &args).await
            }
        };
        let done = timeout(OWN, work).await;
        self.landed(done)
    }

    /// Runs one of the store's own statements that has no answer; says how many rows it changed.
    pub(super) async fn changes(&mut self, sql: &str, args: &[Arg<'_>]) -> Result<u64, Trouble> {
        if !self.prepares() {
            // Without a name, the driver gives rows and no count of them.
            return Ok(self.rows(&format!("{sql} RETURNING 1"), args).await?.len() as u64);
        }
        self.in_flight = true;
        let work = async {
            let statement = self.prepare_cached(sql).await?;
            let args: Vec<&(dyn ToSql + Sync)> = args.iter().map(|arg| arg as _).collect();
            self.execute(&statement, &args).await
        };
        let done = timeout(OWN, work).await;
        self.landed(done)
    }

    /// Runs some of the store's own statements that have neither parameters nor an answer.
    pub(super) async fn batch(&mut self, sql: &str) -> Result<(), Trouble> {
        self.in_flight = true;
        let done = timeout(OWN, self.batch_execute(sql)).await;
        self.landed(done)
    }

    /// Opens a transaction of the store's own.
    pub(super) async fn begin(&mut self) -> Result<(), Trouble> {
        self.open = true;
        self.batch("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    pub(super) async fn commit(&mut self) -> Result<(), Trouble> {
        self.batch("COMMIT").await?;
        self.open = false;
        Ok(())
    }

    fn landed<T>(
        &mut self,
        done: Result<Result<T, Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, Trouble> {
        match done {
            Ok(Ok(value)) => {
                self.in_flight = false;
                Ok(value)
            }
            Ok(Err(error)) => {
                self.in_flight = false;
                self.spoiled |= error.as_db_error().is_none();
                Err(Trouble::Server(error))
            }
            Err(_) => Err(Trouble::Late),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        if self.in_flight {
            self.shared
                .tasks
                .spawn(give_up(object, self.shared.tls.clone()));
        } else if self.spoiled {
            drop(Object::take(object));
        } else if self.open {
            self.shared
                .tasks
                .spawn(roll_back(object, self.shared.tls.clone()));
        }
    }
}

/// Cancels what runs and closes the connection. Its place in the pool is free afterwards, so that a role
/// never has more connections than the pool has places.
async fn give_up(object: Object, tls: Connect) {
    let token = object.cancel_token();
    cancel(&Stop { token, tls }).await;
    drop(Object::take(object));
}

async fn roll_back(object: Object, tls: Connect) {
    match timeout(GRACE, object.batch_execute("ROLLBACK")).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) | Err(_) => give_up(object, tls).await,
    }
}

/// The way to stop what runs on a connection, with the same TLS.
pub(super) struct Stop {
    token: CancelToken,
    tls: Connect,
}

/// Asks the server to stop what runs on a connection. That takes a connection of its own.
pub(super) async fn cancel(stop: &Stop) {
    let asked = stop.token.cancel_query(stop.tls.clone());
    if !matches!(timeout(GRACE, asked).await, Ok(Ok(()))) {
        tracing::warn!("a statement could not be cancelled; the server's own limit ends it");
    }
}

/// How a statement of the store's own fails.
#[derive(Debug)]
pub(super) enum Trouble {
    Server(Error),
    Late,
}

impl Trouble {
    /// The server's code for it.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Server(error) => error.code().map_or("", |code| code.code()),
            Self::Late => "",
        }
    }
}

/// A parameter of the store's own statements.
#[derive(Clone, Copy)]
pub(super) enum Arg<'a> {
    Text(&'a str),
    MaybeText(Option<&'a str>),
    Number(i64),
    MaybeNumber(Option<i64>),
    Truth(bool),
    Texts(&'a [&'a str]),
    NoTexts,
    MaybeTexts(&'a [Option<&'a str>]),
    Numbers(&'a [i64]),
    MaybeNumbers(&'a [Option<i64>]),
}

impl Arg<'_> {
    fn kind(&self) -> Type {
        match self {
            Self::Text(_) | Self::MaybeText(_) => Type::TEXT,
            Self::Number(_) | Self::MaybeNumber(_) => Type::INT8,
            Self::Truth(_) => Type::BOOL,
            Self::Texts(_) | Self::NoTexts | Self::MaybeTexts(_) => Type::TEXT_ARRAY,
            Self::Numbers(_) | Self::MaybeNumbers(_) => Type::INT8_ARRAY,
        }
    }
}

/// The driver writes parameters to its debug log.
impl fmt::Debug for Arg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl ToSql for Arg<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Text(text) => text.to_sql(kind, out),
            Self::MaybeText(text) => text.to_sql(kind, out),
            Self::Number(number) => number.to_sql(kind, out),
            Self::MaybeNumber(number) => number.to_sql(kind, out),
            Self::Truth(truth) => truth.to_sql(kind, out),
            Self::Texts(texts) => texts.to_sql(kind, out),
            Self::NoTexts => Ok(IsNull::Yes),
            Self::MaybeTexts(texts) => texts.to_sql(kind, out),
            Self::Numbers(numbers) => numbers.to_sql(kind, out),
            Self::MaybeNumbers(numbers) => numbers.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [
            Type::TEXT,
            Type::NAME,
            Type::INT8,
            Type::BOOL,
            Type::TEXT_ARRAY,
            Type::INT8_ARRAY,
        ]
        .contains(kind)
    }

    to_sql_checked!();
}
