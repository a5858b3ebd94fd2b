//! What the seam says about jobs, in the most naive words: a list that is walked for every question. The
//! engines are compared with it.

use std::collections::BTreeMap;

use kodex_plugin::PluginName;

use super::{
    board::RULES,
    step::{How, Step, Wished},
};
use crate::{
    queue::{
        ATTEMPTS_EXHAUSTED, Added, CANCELLED, Cancelled, EXPIRED, Job, JobLease, JobState,
        LEASE_RAN_OUT, LogStream, LoggedLine, POISON, Priority, Recovered, Renewed, Unique,
    },
    suite::given::raw,
};

/// A job with what it leaves behind.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) job: Job,
    max_age_ms: Option<u64>,
    effects: BTreeMap<String, String>,
    pub(super) lines: Vec<LoggedLine>,
}

/// All of them, and the time.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) now_ms: u64,
    pub(super) rows: Vec<Row>,
}

/// What a step was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Added(Vec<Added>),
    Claimed(Vec<(JobLease, String)>),
    Renewed(Vec<Renewed>),
    Ended(Vec<bool>),
    Effect(String),
    Cancelled(Cancelled),
    Revived(Option<bool>),
    Recovered(Vec<Recovered>),
    Pruned(u64),
    Nothing,
}

impl Model {
    pub(super) fn answer(&mut self, step: &Step, leases: &[JobLease]) -> Answer {
        match step {
            Step::Add(jobs) => Answer::Added(jobs.iter().map(|job| self.add(job)).collect()),
            Step::Claim {
                holder,
                queue,
                n,
                lease_ms,
                caps,
                plugins,
            } => {
                let caps: BTreeMap<_, _> = caps.iter().cloned().collect();
                let plugins = plugins.as_deref();
                self.claim(holder, queue, *n, *lease_ms, &caps, plugins)
            }
            Step::Renew { lease, lease_ms } => {
                let renewed = lease.of(leases).map(|lease| self.renew(lease, *lease_ms));
                Answer::Renewed(renewed.into_iter().collect())
            }
            Step::End(ends) => Answer::Ended(
                ends.iter()
                    .filter_map(|(lease, how)| Some(self.end(lease.of(leases)?, how)))
                    .collect(),
            ),
            Step::Effect { lease, key, value } => Answer::Effect(
                lease
                    .of(leases)
                    .map_or_else(String::new, |lease| self.effect(lease, key, *value)),
            ),
            Step::Log { lease, text } => {
                if let Some(lease) = lease.of(leases) {
                    self.log(lease, text);
                }
                Answer::Nothing
            }
            Step::Cancel(id) => Answer::Cancelled(self.cancel(id)),
            Step::Revive(id) => Answer::Revived(self.revive(id)),
            Step::Recover => Answer::Recovered(self.recover()),
            Step::Prune { ended_before_ms } => Answer::Pruned(self.prune(*ended_before_ms)),
            Step::Later(ms) => {
                self.now_ms += ms;
                Answer::Nothing
            }
            Step::Earlier(ms) => {
                self.now_ms -= ms;
                Answer::Nothing
            }
        }
    }

    fn find(&mut self, id: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.job.id == id)
    }

    fn held(&mut self, lease: &JobLease) -> Option<&mut Row> {
        let now_ms = self.now_ms;
        self.find(&lease.id).filter(|row| {
            row.job.state == JobState::Running
                && row.job.token == lease.token
                && row.job.until_ms.is_some_and(|until_ms| until_ms > now_ms)
        })
    }

    fn living_with_key(
        &mut self,
        queue: &str,
        plugin: &PluginName,
        key: Option<&str>,
    ) -> Option<&mut Row> {
        let key = key?;
        self.rows.iter_mut().find(|row| {
            is_living(&row.job)
                && row.job.queue == queue
                && row.job.plugin == *plugin
                && row.job.unique_key.as_deref() == Some(key)
        })
    }

    fn add(&mut self, job: &Wished) -> Added {
        let now_ms = self.now_ms;
        let due_at_ms = job.due_at_ms.unwrap_or(0).max(now_ms + job.delay_ms);
        if self.find(&job.id).is_some() {
            return Added::Existing {
                id: job.id.clone(),
                changed: false,
            };
        }
        let key = job.unique_key.as_deref();
        if let Some(living) = self.living_with_key(&job.queue, &job.plugin, key) {
            return merge(&mut living.job, job, due_at_ms);
        }
        self.rows.push(Row {
            job: Job {
                id: job.id.clone(),
                queue: job.queue.clone(),
                plugin: job.plugin.clone(),
                name: "name".to_owned(),
                lane: job.lane.clone(),
                unique_key: job.unique_key.clone(),
                priority: job.priority,
                state: JobState::Pending,
                payload: raw(&job.payload.to_string()),
                checkpoint: None,
                result: None,
                reason_code: None,
                reason: None,
                added_at_ms: now_ms,
                due_at_ms,
                expires_at_ms: job.max_age_ms.map(|age_ms| now_ms + age_ms),
                started_at_ms: None,
                ended_at_ms: None,
                attempt: 0,
                max_attempts: job.max_attempts,
                n_crashes: 0,
                n_slices: 0,
                generation: 0,
                token: 0,
                holder: None,
                until_ms: None,
                cancel: false,
            },
            max_age_ms: job.max_age_ms,
            effects: BTreeMap::new(),
            lines: Vec::new(),
        });
        Added::Created
    }

    fn claim(
        &mut self,
        holder: &str,
        queue: &str,
        n: usize,
        lease_ms: u64,
        caps: &BTreeMap<PluginName, usize>,
        plugins: Option<&[PluginName]>,
    ) -> Answer {
        let now_ms = self.now_ms;
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|at| {
            let job = &self.rows[*at].job;
            (job.priority, job.due_at_ms, job.id.clone())
        });
        let mut claimed = Vec::new();
        for at in order {
            let job = &self.rows[at].job;
            let running = |other: &&Row| other.job.state == JobState::Running;
            let n_of_plugin = self
                .rows
                .iter()
                .filter(running)
                .filter(|other| other.job.plugin == job.plugin)
                .count();
            let is_lane_busy = job.lane.is_some()
                && self
                    .rows
                    .iter()
                    .filter(running)
                    .any(|other| other.job.lane == job.lane);
            let may = claimed.len() < n
                && job.state == JobState::Pending
                && job.queue == queue
                && job.due_at_ms <= now_ms
                && job.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
                && plugins.is_none_or(|plugins| plugins.contains(&job.plugin))
                && caps.get(&job.plugin).is_none_or(|cap| n_of_plugin < *cap)
                && !is_lane_busy;
            if !may {
                continue;
            }
            let job = &mut self.rows[at].job;
            job.state = JobState::Running;
            job.attempt += 1;
            job.token += 1;
            job.holder = Some(holder.to_owned());
            job.until_ms = Some(now_ms + lease_ms);
            job.started_at_ms = Some(now_ms);
            let lease = JobLease {
                id: job.id.clone(),
                token: job.token,
            };
            claimed.push((lease, format!("{job:?}")));
        }
        Answer::Claimed(claimed)
    }

    fn renew(&mut self, lease: &JobLease, lease_ms: u64) -> Renewed {
        let until_ms = self.now_ms + lease_ms;
        match self.held(lease) {
            None => Renewed::Lost,
            Some(row) => {
                row.job.until_ms = Some(until_ms);
                Renewed::Held {
                    until_ms,
                    cancel: row.job.cancel,
                }
            }
        }
    }

    fn end(&mut self, lease: &JobLease, how: &How) -> bool {
        let now_ms = self.now_ms;
        let Some(row) = self.held(lease) else {
            return false;
        };
        let job = &mut row.job;
        let goes_on = matches!(
            how,
            How::Block | How::Retry(_) | How::GoOn { .. } | How::Release(_)
        );
        if job.cancel && goes_on {
            over(job, JobState::Cancelled, Some(CANCELLED), now_ms);
            return true;
        }
        match how {
            How::Complete(result) => {
                over(job, JobState::Completed, None, now_ms);
                job.reason = None;
                job.result = result.map(|number| raw(&number.to_string()));
            }
            How::Fail => said(job, JobState::Failed, now_ms),
            How::Bury => said(job, JobState::Dead, now_ms),
            How::Block => said(job, JobState::Blocked, now_ms),
            How::Cancelled => said(job, JobState::Cancelled, now_ms),
            How::Retry(_) if job.attempt >= job.max_attempts => {
                over(job, JobState::Dead, Some(ATTEMPTS_EXHAUSTED), now_ms);
                job.reason = Some("because".to_owned());
            }
            How::Retry(after_ms) => {
                again(job, now_ms + after_ms);
                job.reason_code = Some("why".to_owned());
                job.reason = Some("because".to_owned());
            }
            How::GoOn {
                checkpoint,
                after_ms,
            } => {
                again(job, now_ms + after_ms);
                job.attempt -= 1;
                job.n_slices += 1;
                if let Some(number) = checkpoint {
                    job.checkpoint = Some(raw(&number.to_string()));
                }
            }
            How::Release(after_ms) => {
                again(job, now_ms + after_ms);
                job.attempt -= 1;
            }
        }
        true
    }

    fn effect(&mut self, lease: &JobLease, key: &str, value: u8) -> String {
        let Some(row) = self.held(lease) else {
            return "lost".to_owned();
        };
        match row.effects.get(key) {
            Some(first) => first.clone(),
            None => {
                row.effects.insert(key.to_owned(), value.to_string());
                "first".to_owned()
            }
        }
    }

    fn log(&mut self, lease: &JobLease, text: &str) {
        let at_ms = self.now_ms;
        if let Some(row) = self.held(lease) {
            row.lines.push(LoggedLine {
                number: row.lines.len() as u64 + 1,
                at_ms,
                stream: LogStream::Out,
                text: text.to_owned(),
            });
        }
    }

    fn cancel(&mut self, id: &str) -> Cancelled {
        let now_ms = self.now_ms;
        let Some(row) = self.find(id) else {
            return Cancelled::Unknown;
        };
        let job = &mut row.job;
        let is_held = job.until_ms.is_some_and(|until_ms| until_ms > now_ms);
        if job.state.is_over() {
            Cancelled::Over(job.state)
        } else if job.state == JobState::Running && is_held {
            job.cancel = true;
            Cancelled::Asked
        } else {
            job.n_crashes += u32::from(job.state == JobState::Running);
            over(job, JobState::Cancelled, Some(CANCELLED), now_ms);
            Cancelled::Done
        }
    }

    fn revive(&mut self, id: &str) -> Option<bool> {
        let now_ms = self.now_ms;
        let row = self.find(id)?.clone();
        if is_living(&row.job) {
            return Some(false);
        }
        let key = row.job.unique_key.as_deref();
        if self
            .living_with_key(&row.job.queue, &row.job.plugin, key)
            .is_some()
        {
            return Some(false);
        }
        let row = self.find(id)?;
        let job = &mut row.job;
        again(job, now_ms);
        job.expires_at_ms = row.max_age_ms.map(|age_ms| now_ms + age_ms);
        (job.attempt, job.n_crashes, job.n_slices) = (0, 0, 0);
        job.generation += 1;
        (job.reason_code, job.reason, job.result) = (None, None, None);
        job.ended_at_ms = None;
        Some(true)
    }

    fn recover(&mut self) -> Vec<Recovered> {
        let now_ms = self.now_ms;
        let mut recovered = Vec::new();
        for row in &mut self.rows {
            let job = &mut row.job;
            let is_lost = job.state == JobState::Running
                && job.until_ms.is_some_and(|until_ms| until_ms <= now_ms);
            let is_old = job.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
            let waits = matches!(job.state, JobState::Pending | JobState::Blocked);
            if !(is_lost || (is_old && waits)) {
                continue;
            }
            job.n_crashes += u32::from(is_lost);
            let end = if job.cancel {
                Some((JobState::Cancelled, CANCELLED))
            } else if is_old {
                Some((JobState::Dead, EXPIRED))
            } else if job.n_crashes >= RULES.max_crashes {
                Some((JobState::Dead, POISON))
            } else if job.attempt >= job.max_attempts {
                Some((JobState::Dead, ATTEMPTS_EXHAUSTED))
            } else {
                None
            };
            match end {
                Some((state, code)) => over(job, state, Some(code), now_ms),
                None => {
                    let at = RULES.pauses_ms.len().min(job.n_crashes as usize) - 1;
                    again(job, now_ms + RULES.pauses_ms[at]);
                    job.reason_code = Some(LEASE_RAN_OUT.to_owned());
                    job.reason = None;
                }
            }
            recovered.push(Recovered {
                id: job.id.clone(),
                queue: job.queue.clone(),
                plugin: job.plugin.clone(),
                state: job.state,
                reason_code: end.map(|(_, code)| code.to_owned()),
            });
        }
        recovered.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        recovered
    }

    fn prune(&mut self, ended_before_ms: u64) -> u64 {
        let n_before = self.rows.len();
        self.rows.retain(|row| {
            let at_ms = row.job.ended_at_ms.unwrap_or(u64::MAX);
            !(row.job.state.is_over() && at_ms <= ended_before_ms)
        });
        (n_before - self.rows.len()) as u64
    }

    /// See [`crate::Queue::next_at`].
    pub(super) fn next_at(&self, queue: &str) -> Option<u64> {
        let of_queue = self.rows.iter().filter(|row| row.job.queue == queue);
        let times = of_queue.filter_map(|row| match row.job.state {
            JobState::Pending => Some(row.job.due_at_ms).filter(|at_ms| *at_ms > self.now_ms),
            JobState::Running => row.job.until_ms,
            _ => None,
        });
        times.min()
    }
}

pub(super) fn is_living(job: &Job) -> bool {
    matches!(job.state, JobState::Pending | JobState::Running)
}

fn merge(living: &mut Job, job: &Wished, due_at_ms: u64) -> Added {
    let mut changed = false;
    if living.state == JobState::Pending {
        let before = (living.due_at_ms, living.payload.get().to_owned());
        match job.unique {
            Unique::Keep => {}
            Unique::Replace => {
                living.due_at_ms = due_at_ms;
                living.payload = raw(&job.payload.to_string());
            }
            Unique::Debounce { max_wait_ms } => {
                living.due_at_ms = due_at_ms.min(living.added_at_ms + max_wait_ms);
            }
        }
        changed = before != (living.due_at_ms, living.payload.get().to_owned());
    }
    Added::Existing {
        id: living.id.clone(),
        changed,
    }
}

fn let_go(job: &mut Job) {
    (job.holder, job.until_ms, job.cancel) = (None, None, false);
}

/// Pending again.
fn again(job: &mut Job, due_at_ms: u64) {
    let_go(job);
    job.state = JobState::Pending;
    job.due_at_ms = due_at_ms;
}

/// Ended or blocked, for a reason whose words are the engine's.
fn over(job: &mut Job, state: JobState, code: Option<&str>, now_ms: u64) {
    let_go(job);
    job.state = state;
    job.ended_at_ms = Some(now_ms);
    job.reason_code = code.map(str::to_owned);
    job.reason = None;
}

/// Ended or blocked, in the words of its holder.
fn said(job: &mut Job, state: JobState, now_ms: u64) {
    over(job, state, Some("why"), now_ms);
    job.reason = Some("because".to_owned());
}

/// What is to be the same in engine and model: all of a job but the engine's own words.
pub(super) fn seen(job: &Job) -> String {
    let mut job = job.clone();
    let own = [CANCELLED, EXPIRED, POISON, LEASE_RAN_OUT];
    if job
        .reason_code
        .as_deref()
        .is_some_and(|code| own.contains(&code))
    {
        job.reason = None;
    }
    if job.reason_code.as_deref() == Some(ATTEMPTS_EXHAUSTED) {
        job.reason = None;
    }
    format!("{job:?}")
}

/// The order of priorities is that of the claim.
const _: () = assert!((Priority::Urgent as u8) < Priority::Low as u8);
