//! Durable work: jobs that are claimed under a lease and end exactly once.
//!
//! A job is a row that outlives every process. Whoever claims it holds a lease with an end and a fencing
//! token; every later word about the job (renewing, ending, logging, effects) carries the token, and one
//! from a holder that has lost its lease changes nothing. Time is the store's clock, so nodes need not
//! agree about it.
//!
//! A lease is held while its token is the job's last one, the job is running and the end of the lease has not
//! come. Whoever lost it by time has lost it, also before anybody noticed.
//!
//! What a job means, how often it is tried and how long it waits in between is the runtime's business; the
//! store keeps the counts and obeys.
//!
//! ```text
//!                 claim                 complete, fail, block, cancelled
//!   pending  ───────────────▶ running ───────────────────────────────────▶ completed, failed, dead,
//!      ▲                         │                                          blocked, cancelled
//!      └─────────────────────────┘                                               │
//!        retry, go on, release; its lease ran out                                │
//!      ▲                                        revive (by people)               │
//!      └─────────────────────────────────────────────────────────────────────────┘
//! ```

mod judge;

use kodex_plugin::PluginName;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::{StoreError, Work};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use judge::problem;
pub use judge::{
    check_effect, check_many, check_new, check_payload, kept_line, kept_reason, lease_of,
};

/// Longest id, key, name or lane, in characters.
pub const NAME_CHARS: usize = 512;
/// Largest payload, checkpoint or result, in bytes of JSON.
pub const PAYLOAD_BYTES: usize = 256 << 10;
/// Longest reason, in characters; longer ones are cut.
pub const REASON_CHARS: usize = 4_000;
/// Most jobs in one call.
pub const N_TOGETHER: usize = 1_000;
/// Most bytes of log that are kept of one job; what comes after the first half pushes older lines of the
/// second half out, so that beginning and end are there.
pub const LOG_BYTES: usize = 1 << 20;
/// Longest line of a job's log, in bytes; longer ones are cut.
pub const LINE_BYTES: usize = 8 << 10;
/// Shortest and longest lease, in milliseconds; others are brought into it.
pub const LEASE_MS: std::ops::RangeInclusive<u64> = 100..=86_400_000;

/// Why a row was buried that cannot be read.
pub const MALFORMED: &str = "malformed";
/// Why a job is dead whose attempts were used up.
pub const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";
/// Why a job is dead that grew too old.
pub const EXPIRED: &str = "expired";
/// Why a job is dead whose lease ran out too often.
pub const POISON: &str = "poison";
/// Why a job ended that somebody asked to end.
pub const CANCELLED: &str = "cancelled";
/// Why the last attempt of a job failed whose lease ran out.
pub const LEASE_RAN_OUT: &str = "lease_ran_out";

/// The jobs of all plugins. Every method is atomic.
pub trait Queue: Send + Sync {
    /// Adds jobs in one transaction, in order: all of them or, with an error, none. A job that is there
    /// already, by its id or by the unique key of a living one, is reported and left as [`Unique`] says; one
    /// with its id is never changed. At most [`N_TOGETHER`].
    fn add<'a>(&'a self, jobs: &'a [NewJob<'a>]) -> Work<'a, Vec<Added>>;

    /// Takes due jobs: urgent ones first, then the longest due, then by id. In one lane at most one job
    /// is running at any time, and of a capped plugin no more than its cap, over all queues and nodes; what
    /// runs counts until it is ended or taken back. Jobs that are too old are left to [`Queue::recover`].
    ///
    /// A row that cannot be read does not stop the claim: it is ended as dead with reason `malformed`.
    fn claim<'a>(&'a self, claim: &'a Claim<'a>) -> Work<'a, Vec<Claimed>>;

    /// Prolongs leases; one answer for each, in order.
    fn renew<'a>(&'a self, leases: &'a [JobLease], lease_ms: u64) -> Work<'a, Vec<Renewed>>;

    /// Keeps what a later attempt of a job needs to know, under its lease, while it goes on running; says whether
    /// it was still held under this token. What was kept before is replaced.
    fn keep<'a>(&'a self, lease: &'a JobLease, checkpoint: &'a RawValue) -> Work<'a, bool>;

    /// Ends claims in one transaction; one answer for each, in order: whether it was still held under
    /// this token, and so whether it took effect.
    ///
    /// A job that somebody asked to end does not go on: [`Ending::Retry`], [`Ending::GoOn`],
    /// [`Ending::Release`] and [`Ending::Block`] make it cancelled.
    fn end<'a>(&'a self, ends: &'a [End<'a>]) -> Work<'a, Vec<bool>>;

    /// Remembers that an effect of a job has happened, under its lease: the first to say so gets
    /// [`Effect::First`]; everyone after it, in later attempts and generations too, the value that the first
    /// gave.
    fn effect<'a>(
        &'a self,
        lease: &'a JobLease,
        key: &'a str,
        value: &'a RawValue,
    ) -> Work<'a, Effect>;

    /// Adds lines to the log of a job, under its lease; from a holder that lost it nothing is kept.
    fn log<'a>(&'a self, lease: &'a JobLease, lines: &'a [LogLine]) -> Work<'a, ()>;

    /// The lines of a job's log with a number above `after`, at most `limit`, in order.
    fn logs<'a>(&'a self, id: &'a str, after: u64, limit: usize) -> Work<'a, Vec<LoggedLine>>;

    /// Asks for the end of a job: one that nobody holds is cancelled at once, a running one is told at its
    /// next renewal.
    fn cancel<'a>(&'a self, id: &'a str) -> Work<'a, Cancelled>;

    /// Makes a job pending again that has ended, or is blocked: a new generation, due now, with its counts at
    /// zero, its age counted anew and its tokens going on; result and reason go, checkpoint, log and effects
    /// stay. None when there is no such job; false when it is pending or running, or when a living one has
    /// its unique key.
    fn revive<'a>(&'a self, id: &'a str) -> Work<'a, Option<bool>>;

    /// One job. [`StoreError::Damaged`] when its row cannot be read.
    fn find<'a>(&'a self, id: &'a str) -> Work<'a, Option<Job>>;

    /// Jobs, newest first and then by id from the last; rows that cannot be read are left out.
    fn list<'a>(&'a self, filter: &'a Filter<'a>) -> Work<'a, Vec<Job>>;

    /// How many jobs there are, by queue, plugin and state.
    fn counts(&self) -> Work<'_, Vec<Count>>;

    /// How many living jobs (pending or running) a plugin has in a queue; it stops counting at `limit`.
    fn n_living<'a>(&'a self, queue: &'a str, plugin: &'a PluginName, limit: u64) -> Work<'a, u64>;

    /// Takes jobs back whose lease ran out, and ends those whose time is over: see [`Recover`].
    fn recover<'a>(&'a self, recover: &'a Recover<'a>) -> Work<'a, Vec<Recovered>>;

    /// Removes jobs that ended at or before this time, with their logs and effects; at most `limit`.
    /// Blocked ones stay. Says how many.
    fn prune(&self, ended_before_ms: u64, limit: usize) -> Work<'_, u64>;

    /// When the next job of a queue becomes due that is not due yet, and when the next lease of it ends;
    /// the earlier of the two, in milliseconds since 1970-01-01 UTC. A lease that ran out and was not taken
    /// back yet counts with its end.
    fn next_at<'a>(&'a self, queue: &'a str) -> Work<'a, Option<u64>>;

    /// The store's time, in milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> Work<'_, u64>;

    /// Changes when there may be something to claim: after an `add` of due jobs, the end of a job in a lane,
    /// a retry without a wait, a revival; on Postgres also those of other nodes, where the server has NOTIFY. A hint: one may be
    /// missing, so whoever waits on it also looks from time to time.
    fn hints(&self) -> Work<'_, watch::Receiver<u64>>;
}

/// How much a job hurries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before all others.
    Urgent,
    /// As most.
    #[default]
    Normal,
    /// When nothing else is due.
    Low,
}

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Low];

    /// The number in the table: the smaller, the earlier.
    #[must_use]
    pub fn rank(self) -> i16 {
        match self {
            Self::Urgent => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// The other way round.
    #[must_use]
    pub fn of_rank(rank: i16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.rank() == rank)
    }
}

/// What happens when a living job of the same plugin and queue has the unique key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Unique {
    /// It stays, and the caller gets its id.
    #[default]
    Keep,
    /// While it is pending it gets the new payload and due time; a running one stays.
    Replace,
    /// While it is pending its due time moves to the new one, but never beyond this many milliseconds after
    /// it was added; a running one stays.
    Debounce {
        /// See above.
        max_wait_ms: u64,
    },
}

/// A job to add.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// Unique over all plugins and queues.
    pub id: &'a str,
    /// Which kind of work: who claims it.
    pub queue: &'a str,
    /// Whose it is.
    pub plugin: &'a PluginName,
    /// What is to be done, in the words of the queue.
    pub name: &'a str,
    /// Jobs of one lane never run at the same time, whichever plugin and queue they are of.
    pub lane: Option<&'a str>,
    /// At most one living job of a plugin and queue has it: a constraint of the table.
    pub unique_key: Option<&'a str>,
    /// What happens when there is one.
    pub unique: Unique,
    /// How much it hurries.
    pub priority: Priority,
    /// What it needs to know.
    pub payload: &'a RawValue,
    /// How long from now it becomes due; 0 for now.
    pub delay_ms: u64,
    /// Or when, in milliseconds since 1970-01-01 UTC; the later of the two counts.
    pub due_at_ms: Option<u64>,
    /// How long from now it may stay unfinished before it is given up; none for ever.
    pub max_age_ms: Option<u64>,
    /// How many attempts it has.
    pub max_attempts: u32,
}

impl<'a> NewJob<'a> {
    /// A job that is due at once, hurries as others do, is in no lane, has no unique key, stays for ever and has
    /// five attempts. What differs is set over it.
    ///
    /// ```
    /// use kodex_plugin::PluginName;
    /// use kodex_store::queue::{NewJob, Priority};
    /// use serde_json::value::RawValue;
    ///
    /// let plugin = PluginName::new("mail")?;
    /// let payload = RawValue::from_string(r#"{"to": "ann"}"#.to_owned())?;
    /// let job = NewJob {
    ///     priority: Priority::Urgent,
    ///     ..NewJob::new("job_1", "job", &plugin, "send", &payload)
    /// };
    /// assert_eq!((job.delay_ms, job.max_attempts), (0, 5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(
        id: &'a str,
        queue: &'a str,
        plugin: &'a PluginName,
        name: &'a str,
        payload: &'a RawValue,
    ) -> Self {
        Self {
            id,
            queue,
            plugin,
            name,
            lane: None,
            unique_key: None,
            unique: Unique::Keep,
            priority: Priority::Normal,
            payload,
            delay_ms: 0,
            due_at_ms: None,
            max_age_ms: None,
            max_attempts: 5,
        }
    }
}

/// What became of a [`NewJob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    Created,
    /// A job with this id was there, or a living one with the unique key; its id, and whether [`Unique`]
    /// changed it.
    Existing {
        /// The id of the job that is there.
        id: String,
        /// Whether its payload or due time was changed.
        changed: bool,
    },
}

/// A wish to take jobs.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// From which queue.
    pub queue: &'a str,
    /// Who asks: a name that no other process has, for people.
    pub holder: &'a str,
    /// How many at most; at most [`N_TOGETHER`].
    pub n: usize,
    /// For how long.
    pub lease_ms: u64,
    /// How many jobs of a plugin may run at once, over all nodes; plugins that are not named have no cap.
    pub caps: &'a [(PluginName, usize)],
    /// Only jobs of these plugins; none for all. For nodes on which not every plugin is loaded.
    pub plugins: Option<&'a [PluginName]>,
}

/// The right to speak about a job until a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobLease {
    /// The job.
    pub id: String,
    /// The fencing token: higher than that of every earlier lease of this job.
    pub token: u64,
}

/// A job that was taken.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// It, as it is now.
    pub job: Job,
    /// The right to speak about it.
    pub lease: JobLease,
    /// Until when, in milliseconds since 1970-01-01 UTC.
    pub until_ms: u64,
    /// How long from the claim that is, by the store's clock.
    pub lease_ms: u64,
}

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It is held, until then.
    Held {
        /// In milliseconds since 1970-01-01 UTC.
        until_ms: u64,
        /// Somebody asked for the end of the job.
        cancel: bool,
    },
    /// It was lost: whoever held it must stop.
    Lost,
}

/// How a claim ends.
#[derive(Debug, Clone)]
pub struct End<'a> {
    /// Which claim.
    pub lease: &'a JobLease,
    /// How.
    pub how: Ending<'a>,
}

/// How a claim ends.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'a> {
    /// It is done.
    Complete {
        /// What came out.
        result: Option<&'a RawValue>,
    },
    /// It failed for good.
    Fail(Reason<'a>),
    /// The engine gives it up: a dead letter.
    Bury(Reason<'a>),
    /// It waits until somebody changes something.
    Block(Reason<'a>),
    /// It ended because somebody asked for that.
    Cancelled(Reason<'a>),
    /// This attempt failed; another one follows, unless this was the last: then it is dead with reason
    /// [`ATTEMPTS_EXHAUSTED`] and the text of this one.
    Retry {
        /// Why it failed.
        reason: Reason<'a>,
        /// How long to wait.
        after_ms: u64,
    },
    /// A planned pause: it goes on later, and this attempt does not count.
    GoOn {
        /// What the next slice needs to know; none keeps what is there.
        checkpoint: Option<&'a RawValue>,
        /// How long to wait.
        after_ms: u64,
    },
    /// Given back undone, because the node stops or a place is busy; this attempt does not count.
    Release {
        /// How long to wait.
        after_ms: u64,
    },
}

/// Why a job is as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason<'a> {
    /// Stable word, for example `attempts_exhausted`.
    pub code: &'a str,
    /// For people; cut at [`REASON_CHARS`].
    pub text: &'a str,
}

/// What became of an effect.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Nobody said so before.
    First,
    /// It had happened, with this value.
    Again(Box<RawValue>),
    /// The lease was lost; nothing is known to have happened.
    Lost,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// Waits for its time or for somebody to take it.
    Pending,
    /// Somebody holds it.
    Running,
    /// Waits until somebody changes something.
    Blocked,
    /// Done.
    Completed,
    /// Failed for good, in the words of whoever ran it.
    Failed,
    /// Given up by the engine: attempts used up, too old, malformed, a poison to its processes.
    Dead,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Blocked,
        Self::Completed,
        Self::Failed,
        Self::Dead,
        Self::Cancelled,
    ];

    /// The word in the table and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// The other way round.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it never changes again, unless people revive it.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Dead | Self::Cancelled
        )
    }
}

/// A job as it is stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// Unique over all plugins and queues.
    pub id: String,
    /// Which kind of work.
    pub queue: String,
    /// Whose it is.
    pub plugin: PluginName,
    /// What is to be done.
    pub name: String,
    /// Jobs of one lane never run at the same time.
    pub lane: Option<String>,
    /// See [`NewJob::unique_key`].
    pub unique_key: Option<String>,
    /// How much it hurries.
    pub priority: Priority,
    /// Where it is.
    pub state: JobState,
    /// What it needs to know.
    pub payload: Box<RawValue>,
    /// What the last slice left for the next one.
    pub checkpoint: Option<Box<RawValue>>,
    /// What came out.
    pub result: Option<Box<RawValue>>,
    /// The stable word for why it is as it is: of the last failed attempt, too.
    pub reason_code: Option<String>,
    /// The same for people.
    pub reason: Option<String>,
    /// When it was added, in milliseconds since 1970-01-01 UTC, as all times here.
    pub added_at_ms: u64,
    /// When it is or was due.
    pub due_at_ms: u64,
    /// When it is given up if it is not over by then.
    pub expires_at_ms: Option<u64>,
    /// When it was taken last.
    pub started_at_ms: Option<u64>,
    /// When it ended or was blocked; none once it was revived.
    pub ended_at_ms: Option<u64>,
    /// Attempts that counted, the running one included.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// How often its lease ran out.
    pub n_crashes: u32,
    /// Planned pauses.
    pub n_slices: u32,
    /// How often people revived it.
    pub generation: u32,
    /// The token of the last lease.
    pub token: u64,
    /// Who holds it; only while it is running.
    pub holder: Option<String>,
    /// Until when; only while it is running.
    pub until_ms: Option<u64>,
    /// Somebody asked for its end; only while it is running.
    pub cancel: bool,
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy)]
pub struct Filter<'a> {
    /// Of which queue; none for all.
    pub queue: Option<&'a str>,
    /// Of which plugin; none for all.
    pub plugin: Option<&'a PluginName>,
    /// In which states; empty for all.
    pub states: &'a [JobState],
    /// Only jobs that come after this one in the list: when it was added, and its id.
    pub after: Option<(u64, &'a str)>,
    /// How many at most; at most [`N_TOGETHER`].
    pub limit: usize,
}

/// A number of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Of which queue.
    pub queue: String,
    /// Of which plugin.
    pub plugin: PluginName,
    /// In which state.
    pub state: JobState,
    /// How many.
    pub n: u64,
}

/// What asking for a job's end did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// There is no such job.
    Unknown,
    /// It is cancelled.
    Done,
    /// It is running and will be told.
    Asked,
    /// It had ended before, so.
    Over(JobState),
}

/// How jobs are taken back. In this order: asked to end: cancelled. Too old: dead, `expired` (pending and
/// blocked ones too). Lease ran out `max_crashes` times: dead, `poison`. Attempts used up: dead,
/// `attempts_exhausted`. Otherwise pending again after the pause for its number of crashes, with the reason
/// `lease_ran_out`. Those whose lease ran out come first; their crash counts in each of these cases.
#[derive(Debug, Clone, Copy)]
pub struct Recover<'a> {
    /// How many at most.
    pub limit: usize,
    /// How often a lease may run out before the job is taken for what kills its processes.
    pub max_crashes: u32,
    /// Pauses by the number of crashes, in milliseconds; the last one holds for all further. None is no pause.
    pub pauses_ms: &'a [u64],
}

/// A job that was taken back or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Which.
    pub id: String,
    /// Of which queue.
    pub queue: String,
    /// Whose.
    pub plugin: PluginName,
    /// Where it is now.
    pub state: JobState,
    /// Why, where it was given up.
    pub reason_code: Option<String>,
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output, or what a runner says.
    Out,
    /// Standard error.
    Err,
    /// What Kodex says about the job.
    Kodex,
}

impl LogStream {
    /// The word in the table and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Kodex => "kodex",
        }
    }

    /// The other way round.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Out, Self::Err, Self::Kodex]
            .into_iter()
            .find(|stream| stream.as_str() == word)
    }
}

/// A line for a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Where it came from.
    pub stream: LogStream,
    /// Without its end of line.
    pub text: String,
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedLine {
    /// Rises by one with every line of the job, dropped ones included.
    pub number: u64,
    /// When it came, in milliseconds since 1970-01-01 UTC.
    pub at_ms: u64,
    /// Where it came from.
    pub stream: LogStream,
    /// The text.
    pub text: String,
}
