//! What happened: what was asked for, what the store went through, what the work itself said, and what
//! was scheduled. Plain values; whoever watched makes them.

use kodex_store::queue::JobState;
use serde::{Deserialize, Serialize};

/// Everything that is known of a run of the chaos.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What the driver asked for, in order.
    pub asked: Vec<Asked>,
    /// Every change of a job's row, by the store's own log, in its order.
    pub changes: Vec<Change>,
    /// Everything that was written under a lease beside the row: effects and lines, in the same order.
    pub marks: Vec<Mark>,
    /// What plugins and the agent's stand-in said, in the order in which it was written.
    pub said: Vec<Said>,
    /// The rows as they are at the end.
    pub rows: Vec<Row>,
    /// The scheduled tasks at the end.
    pub tasks: Vec<Task>,
    /// What became of their occurrences.
    pub slots: Vec<Slot>,
}

/// What kind of item it is, and so how it may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A job that does its work.
    Plain,
    /// One that fails in its first attempts.
    Flaky,
    /// One that takes its process down once.
    Crash,
    /// One that takes as long as a lease.
    Slow,
    /// One that fails whenever it is tried.
    Hopeless,
    /// One that asks for an agent run.
    Run,
    /// One that no host may accept.
    Invalid,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::Flaky,
        Self::Crash,
        Self::Slow,
        Self::Hopeless,
        Self::Run,
        Self::Invalid,
    ];

    /// The word in payloads.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Flaky => "flaky",
            Self::Crash => "crash",
            Self::Slow => "slow",
            Self::Hopeless => "hopeless",
            Self::Run => "run",
            Self::Invalid => "invalid",
        }
    }
}

/// One wish of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// When, in milliseconds since the beginning, by a clock that nobody moves.
    pub at_ms: u64,
    /// What.
    pub item: String,
    /// Of which kind.
    pub kind: Kind,
    /// What came back.
    pub answer: Answer,
}

/// What came back from a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is durable, under this id.
    Accepted {
        /// The job.
        id: String,
    },
    /// It was refused for good: nothing of it may exist.
    Refused {
        /// Why.
        code: String,
    },
    /// Nobody knows: the answer was lost, or spoke of something that may have happened.
    Lost {
        /// What is known.
        why: String,
    },
    /// Somebody asked for the end of what was accepted, or for another try of it.
    Touched {
        /// The job.
        id: String,
        /// Whether it was to end.
        cancel: bool,
    },
}

/// A row at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Where it is.
    pub state: JobState,
    /// The token of its last lease.
    pub token: u64,
    /// Who holds it.
    pub holder: Option<String>,
    /// Until when.
    pub until_ms: Option<u64>,
    /// Attempts that counted.
    pub attempt: u32,
    /// How often people revived it.
    pub generation: u32,
    /// Planned pauses.
    pub n_slices: u32,
    /// How often its lease ran out.
    pub n_crashes: u32,
    /// Why it is as it is.
    pub reason: Option<String>,
    /// The same for people, in which an attempt that failed says who it is.
    pub text: Option<String>,
    /// Checkpoint or result: what an attempt left in the row.
    pub left: Option<String>,
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its place in the store's log.
    pub n: u64,
    /// The store's time, as far as there is one.
    pub at_ms: u64,
    /// Which job.
    pub job: String,
    /// Before; none for a new row.
    pub before: Option<Stand>,
    /// After; none for a removed row.
    pub after: Option<Stand>,
}

/// Something that was written under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its place in the store's log.
    pub n: u64,
    /// Which job.
    pub job: String,
    /// The effect's key; none for a line of the log.
    pub effect: Option<String>,
    /// Whose attempt wrote it, in its own words.
    pub by: By,
    /// The row at that moment.
    pub stand: Stand,
}

/// An attempt, as it knows itself: the process that called it, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct By {
    /// The process id of the node.
    pub host: u32,
    /// Which attempt of the job.
    pub attempt: u32,
}

impl By {
    /// Whether this attempt is the one that holds the row.
    #[must_use]
    pub fn holds(&self, stand: &Stand) -> bool {
        let host = stand.holder.as_deref().and_then(host_of);
        stand.state == JobState::Running && host == Some(self.host) && stand.attempt == self.attempt
    }
}

/// The process id in a holder's name.
#[must_use]
pub fn host_of(holder: &str) -> Option<u32> {
    holder.split('-').next()?.parse().ok()
}

/// What an attempt or an agent said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The job or run.
    pub id: String,
    /// Whose words these are.
    #[serde(flatten)]
    pub by: By,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What can be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum What {
    /// An attempt began.
    Begin,
    /// It came to its end.
    End,
    /// The host told it about an effect.
    Effect {
        /// Which.
        key: String,
        /// Whether it was the first to say so.
        first: bool,
        /// The attempt that was the first.
        value: By,
    },
    /// The host accepted an agent run.
    Run {
        /// Under this id.
        run: String,
    },
}

/// A row at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Whether it is an agent run.
    pub is_run: bool,
    /// The item that it was made for; none when something else made it.
    pub item: Option<String>,
    /// How it stands.
    pub stand: Stand,
}

/// A scheduled task at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// The first occurrence.
    pub anchor_ms: i64,
    /// The distance to the next.
    pub every_ms: i64,
    /// The occurrence that it stands at; all before it are behind it.
    pub next_ms: i64,
    /// What was the time at the end: nothing up to here may be still to do.
    pub now_ms: i64,
    /// Whether each occurrence has to have its run, or some may be passed over.
    pub is_strict: bool,
}

/// What became of an occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its key.
    pub id: String,
    /// Of which task.
    pub task: String,
    /// When it was due.
    pub at_ms: i64,
    /// Where it is, in the scheduler's word.
    pub state: String,
    /// Why it did not run.
    pub reason: Option<String>,
    /// The agent run.
    pub run: Option<String>,
}

/// Who left something in a row: the attempt's words about itself, in a job's result or at the end of an
/// agent's answer.
#[must_use]
pub fn left_by(left: &str) -> Option<By> {
    let value: serde_json::Value = serde_json::from_str(left).ok()?;
    let answer = value.get("answer").and_then(|answer| answer.as_str());
    match answer {
        Some(answer) => answer
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok()),
        None => serde_json::from_value(value).ok(),
    }
}

/// Whose words the reason of a failed attempt are.
#[must_use]
pub fn said_by(text: &str) -> Option<By> {
    let (from, to) = (text.rfind('{')?, text.rfind('}')?);
    serde_json::from_str(text.get(from..=to)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{By, left_by, said_by};

    #[test]
    fn attempts_are_known_by_why_they_failed() {
        for (text, want) in [
            (
                "RuntimeError: no luck {\"host\": 7, \"attempt\": 2}",
                Some((7, 2)),
            ),
            (
                "it ended: {\"id\":\"x\"}\n{\"host\":7,\"attempt\":2}\n",
                Some((7, 2)),
            ),
            ("its lease ran out", None),
            ("} odd {", None),
        ] {
            let want = want.map(|(host, attempt)| By { host, attempt });
            assert_eq!(said_by(text), want, "{text}");
        }
    }

    #[test]
    fn attempts_are_known_by_what_they_leave() {
        for (left, want) in [
            (r#"{"host":7,"attempt":2}"#, Some((7, 2))),
            (
                r#"{"answer":"x\n{\"host\":7,\"attempt\":2,\"id\":\"r\"}\n"}"#,
                Some((7, 2)),
            ),
            (r#"{"answer":"nothing"}"#, None),
            ("no JSON", None),
        ] {
            let want = want.map(|(host, attempt)| By { host, attempt });
            assert_eq!(left_by(left), want, "{left}");
        }
    }
}
