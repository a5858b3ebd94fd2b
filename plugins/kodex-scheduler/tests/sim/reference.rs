//! What should be true of the jobs, in the most naive words: a list that is walked for every question. It is
//! told of everything that took effect, also where no node heard of it.

use std::collections::BTreeMap;

use kodex_store::queue::{Added, Cancelled, Claimed, Effect, JobLease, JobState, Renewed};

use crate::stand::LOST;

pub(crate) const LEASE_MS: u64 = 30_000;
pub(crate) const MAX_ATTEMPTS: u32 = 3;

#[derive(Debug, Clone)]
pub(crate) struct RefJob {
    pub(crate) key: String,
    lane: String,
    pub(crate) state: JobState,
    due_at_ms: u64,
    pub(crate) token: u64,
    pub(crate) until_ms: u64,
    attempt: u32,
    n_crashes: u32,
    cancel: bool,
    effect: Option<String>,
    /// How often the store said that somebody was the first to do it.
    pub(crate) n_done: u32,
    /// How often it came to an end.
    pub(crate) n_ended: u32,
}

/// How a claim ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Complete,
    Fail,
    Block,
    Retry,
    Release,
    Cancelled,
}

#[derive(Default)]
pub(crate) struct Reference {
    pub(crate) jobs: BTreeMap<String, RefJob>,
}

type Checked = Result<(), String>;

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Checked {
    if got == want {
        return Ok(());
    }
    Err(format!(
        "{what}: the store says {got:?}, the reference {want:?}"
    ))
}

impl RefJob {
    fn is_held(&self, token: u64, now_ms: u64) -> bool {
        self.state == JobState::Running && self.token == token && self.until_ms > now_ms
    }

    fn is_over(&self) -> bool {
        self.state.is_over()
    }

    fn over(&mut self, state: JobState) {
        self.state = state;
        self.cancel = false;
        self.n_ended += 1;
    }

    fn again(&mut self, due_at_ms: u64) {
        self.state = JobState::Pending;
        self.due_at_ms = due_at_ms;
        self.cancel = false;
    }
}

impl Reference {
    pub(crate) fn add(
        &mut self,
        id: &str,
        key: &str,
        lane: &str,
        now_ms: u64,
        added: &Added,
    ) -> Checked {
        let is_new = !self.jobs.contains_key(id);
        same("P1 adding", *added == Added::Created, is_new)?;
        self.jobs.entry(id.to_owned()).or_insert_with(|| RefJob {
            key: key.to_owned(),
            lane: lane.to_owned(),
            state: JobState::Pending,
            due_at_ms: now_ms,
            token: 0,
            until_ms: 0,
            attempt: 0,
            n_crashes: 0,
            cancel: false,
            effect: None,
            n_done: 0,
            n_ended: 0,
        });
        Ok(())
    }

    pub(crate) fn claim(&mut self, n: usize, now_ms: u64, claimed: &[Claimed]) -> Checked {
        let mut order: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.state == JobState::Pending && job.due_at_ms <= now_ms)
            .map(|(id, job)| (job.due_at_ms, id.clone()))
            .collect();
        order.sort();
        let mut want = Vec::new();
        for (_, id) in order {
            let lane = self.jobs[&id].lane.clone();
            let mut running = self
                .jobs
                .values()
                .filter(|job| job.state == JobState::Running);
            if want.len() == n || running.any(|job| job.lane == lane) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            job.state = JobState::Running;
            job.token += 1;
            job.attempt += 1;
            job.until_ms = now_ms + LEASE_MS;
            want.push((id, job.token));
        }
        let got: Vec<_> = claimed
            .iter()
            .map(|claimed| (claimed.lease.id.clone(), claimed.lease.token))
            .collect();
        same("P3 claiming", got, want)
    }

    pub(crate) fn renew(&mut self, lease: &JobLease, now_ms: u64, renewed: Renewed) -> Checked {
        let until_ms = now_ms + LEASE_MS;
        let job = self
            .jobs
            .get_mut(&lease.id)
            .filter(|job| job.is_held(lease.token, now_ms));
        let want = match job {
            None => Renewed::Lost,
            Some(job) => {
                job.until_ms = until_ms;
                Renewed::Held {
                    until_ms,
                    cancel: job.cancel,
                }
            }
        };
        same("P4 renewing", renewed, want)
    }

    pub(crate) fn end(&mut self, lease: &JobLease, how: How, now_ms: u64, took: bool) -> Checked {
        let job = self
            .jobs
            .get_mut(&lease.id)
            .filter(|job| job.is_held(lease.token, now_ms));
        same("P4 ending", took, job.is_some())?;
        let Some(job) = job else { return Ok(()) };
        let goes_on = matches!(how, How::Block | How::Retry | How::Release);
        if job.cancel && goes_on {
            job.over(JobState::Cancelled);
            return Ok(());
        }
        match how {
            How::Complete => job.over(JobState::Completed),
            How::Fail => job.over(JobState::Failed),
            How::Cancelled => job.over(JobState::Cancelled),
            How::Block => job.state = JobState::Blocked,
            How::Retry if job.attempt >= MAX_ATTEMPTS => job.over(JobState::Dead),
            How::Retry => job.again(now_ms + 1_000),
            How::Release => {
                job.again(now_ms);
                job.attempt -= 1;
            }
        }
        Ok(())
    }

    pub(crate) fn effect(
        &mut self,
        lease: &JobLease,
        value: &str,
        now_ms: u64,
        effect: &Effect,
    ) -> Checked {
        let got = match effect {
            Effect::First => "first".to_owned(),
            Effect::Again(value) => value.get().to_owned(),
            Effect::Lost => "lost".to_owned(),
        };
        let job = self
            .jobs
            .get_mut(&lease.id)
            .filter(|job| job.is_held(lease.token, now_ms));
        let want = match job {
            None => "lost".to_owned(),
            Some(job) => match &job.effect {
                Some(first) => first.clone(),
                None => {
                    job.effect = Some(value.to_owned());
                    job.n_done += 1;
                    "first".to_owned()
                }
            },
        };
        same("P6 an effect", got, want)
    }

    pub(crate) fn cancel(&mut self, id: &str, now_ms: u64, cancelled: Cancelled) -> Checked {
        let want = match self.jobs.get_mut(id) {
            None => Cancelled::Unknown,
            Some(job) if job.is_over() => Cancelled::Over(job.state),
            Some(job) if job.state == JobState::Running && job.until_ms > now_ms => {
                job.cancel = true;
                Cancelled::Asked
            }
            Some(job) => {
                job.over(JobState::Cancelled);
                Cancelled::Done
            }
        };
        same("cancelling", cancelled, want)
    }

    pub(crate) fn recover(&mut self, now_ms: u64, mut recovered: Vec<String>) -> Checked {
        let mut want = Vec::new();
        for (id, job) in &mut self.jobs {
            if job.state != JobState::Running || job.until_ms > now_ms {
                continue;
            }
            want.push(id.clone());
            job.n_crashes += 1;
            if job.cancel {
                job.over(JobState::Cancelled);
            } else if job.n_crashes >= LOST.max_crashes || job.attempt >= MAX_ATTEMPTS {
                job.over(JobState::Dead);
            } else {
                let at = LOST.pauses_ms.len().min(job.n_crashes as usize) - 1;
                job.again(now_ms + LOST.pauses_ms[at]);
            }
        }
        recovered.sort();
        same("P5 taking back", recovered, want)
    }

    /// Whether the store holds the same jobs, neither more nor fewer, in the same states.
    pub(crate) fn compare(&self, jobs: &[kodex_store::queue::Job]) -> Checked {
        let mut got: Vec<_> = jobs
            .iter()
            .map(|job| (job.id.as_str(), job.state, job.token))
            .collect();
        got.sort_by_key(|(id, ..)| *id);
        let want: Vec<_> = self
            .jobs
            .iter()
            .map(|(id, job)| (id.as_str(), job.state, job.token))
            .collect();
        same("P1 the jobs", got, want)
    }
}
