//! Short ways to add, take and end jobs, and to look at them.

use std::{ops::Deref, sync::Arc};

use kodex_plugin::Clock as _;
use serde_json::value::RawValue;

use crate::{
    Queue,
    queue::{
        Added, Claim, Claimed, End, Ending, Job, JobLease, JobState, NewJob, Reason, Recover,
        Recovered, Renewed,
    },
    suite::given::{Given, raw, soon},
};

/// The queue of nearly all cases.
pub(super) const QUEUE: &str = "work";
/// How long a usual lease is.
pub(super) const LEASE_MS: u64 = 30_000;

/// A case's view of the jobs.
#[derive(Clone)]
pub(super) struct Board {
    given: Given,
    payload: Arc<RawValue>,
}

impl Deref for Board {
    type Target = Given;

    fn deref(&self) -> &Given {
        &self.given
    }
}

impl Board {
    pub(super) fn new(given: Given) -> Self {
        Self {
            given,
            payload: Arc::from(raw("{\"a\":1}")),
        }
    }

    pub(super) fn queue(&self) -> &dyn Queue {
        self.given.store.queue()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.given.clock.unix_ms()
    }

    /// A usual job, due now.
    pub(super) fn job<'a>(&'a self, id: &'a str) -> NewJob<'a> {
        NewJob {
            max_attempts: 3,
            ..NewJob::new(id, QUEUE, &self.given.plugin, "name", &self.payload)
        }
    }

    pub(super) async fn add(&self, jobs: &[NewJob<'_>]) -> Vec<Added> {
        let added = soon(self.queue().add(jobs)).await;
        added.expect("the jobs are added")
    }

    /// Adds what must be new.
    pub(super) async fn create(&self, jobs: &[NewJob<'_>]) {
        let added = self.add(jobs).await;
        assert_eq!(added, vec![Added::Created; jobs.len()]);
    }

    pub(super) async fn create_all(&self, ids: &[&str]) {
        let jobs: Vec<_> = ids.iter().map(|id| self.job(id)).collect();
        self.create(&jobs).await;
    }

    /// A usual wish for this many.
    pub(super) fn wish(n: usize) -> Claim<'static> {
        Claim {
            queue: QUEUE,
            holder: "holder",
            n,
            lease_ms: LEASE_MS,
            caps: &[],
            plugins: None,
        }
    }

    pub(super) async fn claim_as(&self, claim: &Claim<'_>) -> Vec<Claimed> {
        let claimed = soon(self.queue().claim(claim)).await;
        claimed.expect("the claim is answered")
    }

    pub(super) async fn claim(&self, n: usize) -> Vec<Claimed> {
        self.claim_as(&Self::wish(n)).await
    }

    /// The ids of a claim, in its order.
    pub(super) async fn ids(&self, claim: &Claim<'_>) -> Vec<String> {
        let claimed = self.claim_as(claim).await;
        claimed.into_iter().map(|claimed| claimed.job.id).collect()
    }

    /// Takes the one job that is due, which must be this one.
    pub(super) async fn take(&self, id: &str) -> JobLease {
        let mut claimed = self.claim(1).await;
        let claimed = claimed.pop().unwrap_or_else(|| panic!("{id} is not due"));
        assert_eq!(claimed.job.id, id);
        claimed.lease
    }

    pub(super) async fn end_all(&self, ends: &[End<'_>]) -> Vec<bool> {
        let ended = soon(self.queue().end(ends)).await;
        ended.expect("the ends are written")
    }

    pub(super) async fn end(&self, lease: &JobLease, how: Ending<'_>) -> bool {
        self.end_all(&[End { lease, how }]).await == [true]
    }

    /// Takes and ends a job.
    pub(super) async fn through(&self, id: &str, how: Ending<'_>) {
        let lease = self.take(id).await;
        assert!(self.end(&lease, how).await, "{id} is ended");
    }

    pub(super) async fn renew(&self, lease: &JobLease) -> Renewed {
        let renewed = soon(self.queue().renew(std::slice::from_ref(lease), LEASE_MS));
        renewed.await.expect("the lease is looked at")[0]
    }

    pub(super) async fn find(&self, id: &str) -> Job {
        let found = soon(self.queue().find(id)).await;
        let found = found.expect("the job is read");
        found.unwrap_or_else(|| panic!("{id} is not there"))
    }

    pub(super) async fn state(&self, id: &str) -> JobState {
        self.find(id).await.state
    }

    /// State, stable word and text.
    pub(super) async fn outcome(&self, id: &str) -> (JobState, Option<String>, Option<String>) {
        let job = self.find(id).await;
        (job.state, job.reason_code, job.reason)
    }

    /// Takes back with three crashes, after one second and then five.
    pub(super) async fn recover(&self) -> Vec<Recovered> {
        let recovered = soon(self.queue().recover(&RULES)).await;
        let mut recovered = recovered.expect("the jobs are taken back");
        recovered.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        recovered
    }

    pub(super) async fn sql(&self, text: &str) {
        (self.given.door)(text.to_owned()).await;
    }
}

pub(super) const RULES: Recover<'static> = Recover {
    limit: 100,
    max_crashes: 3,
    pauses_ms: &[1_000, 5_000],
};

pub(super) const DONE: Ending<'static> = Ending::Complete { result: None };
pub(super) const WHY: Reason<'static> = Reason {
    code: "why",
    text: "because",
};

/// An attempt that failed.
pub(super) fn retry(after_ms: u64) -> Ending<'static> {
    Ending::Retry {
        reason: WHY,
        after_ms,
    }
}
