//! One history: what may happen to the nodes, chosen by the seed, one step at a time.

use std::{sync::Arc, sync::Mutex, sync::atomic::Ordering, time::Duration};

use kodex_plugin::Clock as _;
use kodex_store::{
    Value as Cell,
    queue::{Claim, Effect, End, Ending, JobLease, Reason, Renewed},
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    Plant,
    chance::Chance,
    gate::Verdict,
    host::{RUNS, Shared, Truth, lock},
    node::{Held, Life, Node},
    reference::{How, LEASE_MS},
    stand::{LOST, N_NODES, Stand},
    tasks::Tasks,
};

/// Steps of a history.
const N_STEPS: usize = 60;
/// Steps between two looks at all rows.
const N_BETWEEN: usize = 4;
/// Most requests that a call may make at one time before others have their turn.
const N_GATES: [usize; 6] = [1, 2, 5, 12, 60, 60];
/// How often, in percent, a request fails.
const FAULTS: usize = 4;

const LEASE: Duration = Duration::from_millis(LEASE_MS);
const WHY: Reason<'static> = Reason {
    code: "why",
    text: "because",
};

/// How much happened, so that a run can say that it was not empty.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) n_requests: usize,
    pub(crate) n_faults: usize,
    pub(crate) n_crashes: usize,
    pub(crate) n_zombies_refused: usize,
    pub(crate) n_taken_back: usize,
    pub(crate) n_dispatched: usize,
    pub(crate) n_occurrences: usize,
    pub(crate) n_accounted: usize,
    /// Occurrences that were passed over.
    pub(crate) n_passed: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        self.n_requests += other.n_requests;
        self.n_faults += other.n_faults;
        self.n_crashes += other.n_crashes;
        self.n_zombies_refused += other.n_zombies_refused;
        self.n_taken_back += other.n_taken_back;
        self.n_dispatched += other.n_dispatched;
        self.n_occurrences += other.n_occurrences;
        self.n_accounted += other.n_accounted;
        self.n_passed += other.n_passed;
    }
}

pub(crate) struct Sim<'s> {
    pub(crate) stand: &'s Stand,
    pub(crate) chance: Chance,
    pub(crate) nodes: Vec<Node>,
    pub(crate) truth: Shared,
    pub(crate) tasks: Tasks,
    pub(crate) history: Vec<String>,
    pub(crate) seen: Seen,
    /// The latest time that the store has shown.
    pub(crate) latest_ms: u64,
    pub(crate) faults: usize,
    began_at: Duration,
    n_calls: usize,
    plant: Option<Plant>,
}

pub(crate) type Checked = Result<(), String>;

impl<'s> Sim<'s> {
    pub(crate) fn new(stand: &'s Stand, seed: u64, plant: Option<Plant>) -> Self {
        let truth: Shared = Arc::new(Mutex::new(Truth::default()));
        let nodes = (0..N_NODES).map(|nth| Node::new(stand, nth, truth.clone(), plant));
        Self {
            chance: Chance::new(seed),
            nodes: nodes.collect(),
            truth: truth.clone(),
            tasks: Tasks::default(),
            history: Vec::new(),
            seen: Seen::default(),
            latest_ms: stand.clock.unix_ms(),
            faults: FAULTS,
            began_at: stand.clock.elapsed(),
            n_calls: 0,
            plant,
            stand,
        }
    }

    /// Plays the whole history, then lets everything come to rest.
    pub(crate) async fn play(&mut self) -> Checked {
        for _ in 0..2 {
            self.add_task(0).await?;
        }
        // Something is due, so that the nodes have work.
        self.stand.clock.advance(Duration::from_secs(1_201));
        let now = self.now_ms();
        self.begin(0, "heartbeat", json!({"now_unix_ms": now, "ticket": 1}));
        while self.go_on_once(0, 0).await? == Went::On {}
        for nth in 0..N_STEPS {
            self.latest_ms = self.latest_ms.max(self.now_ms());
            self.step().await?;
            if nth % N_BETWEEN == 0 {
                self.check().await?;
            }
        }
        self.settle().await?;
        self.seen.n_dispatched = lock(&self.truth).n_dispatched;
        Ok(())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.stand.clock.unix_ms()
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let at = (self.stand.clock.elapsed() - self.began_at).as_secs();
        let wall = self.now_ms();
        self.history.push(format!("{at:6} {wall} {}", what()));
    }

    pub(crate) fn loses_a_slot(&self) -> bool {
        self.plant == Some(Plant::SlotLost)
    }

    fn with_life(&self, life: Life) -> Vec<usize> {
        (0..N_NODES)
            .filter(|nth| self.nodes[*nth].life == life)
            .collect()
    }

    async fn step(&mut self) -> Checked {
        let up = self.with_life(Life::Up);
        let roll = self.chance.below(100);
        if up.is_empty() || roll >= 86 {
            return self.people_and_machines(roll).await;
        }
        let nth = self.chance.one_of(&up);
        match roll {
            0..30 => self.go_on(nth).await,
            30..40 => {
                let now = self.nodes[nth].host.now_ms();
                if self.nodes[nth]
                    .calls
                    .iter()
                    .all(|call| call.name != "heartbeat")
                {
                    self.begin(nth, "heartbeat", json!({"now_unix_ms": now, "ticket": 1}));
                }
                self.go_on(nth).await
            }
            40..46 => self.ask_something(nth).await,
            46..52 => self.claim(nth, 2).await,
            52..56 => self.renew(nth).await,
            56..62 => self.do_it(nth).await,
            62..69 => self.end_one(nth).await,
            69..72 => self.sweep(nth).await,
            72..84 => {
                let span = self.chance.one_of(&[1, 1, 15, 31, 61, 61, 301, 700]);
                self.stand.clock.advance(Duration::from_secs(span));
                self.note(|| format!("{span} s later"));
                Ok(())
            }
            _ => self.cancel_something(nth).await,
        }
    }

    async fn people_and_machines(&mut self, roll: usize) -> Checked {
        match (roll + self.chance.below(8)) % 8 {
            0 => {
                let hour = 3_600_000_i64;
                let span = self.chance.one_of(&[-hour, hour]);
                let now = self.now_ms().saturating_add_signed(span);
                self.stand.clock.set_unix_ms(now);
                self.note(|| format!("every clock jumps by {span} ms"));
            }
            1 => {
                let nth = self.chance.below(N_NODES);
                let skew = self
                    .chance
                    .one_of(&[0, -2_000, 30_000, -61_000, 3_600_000, -3_600_000]);
                self.nodes[nth].host.skew_ms.store(skew, Ordering::Relaxed);
                self.note(|| format!("node {nth}: its clock is {skew} ms ahead"));
            }
            2 => {
                let nth = self.chance.below(N_NODES);
                if self.nodes[nth].life != Life::Down {
                    self.nodes[nth].crash();
                    self.seen.n_crashes += 1;
                    self.note(|| format!("node {nth} dies"));
                }
            }
            3 | 4 => self.stop().await?,
            5 | 6 => {
                let nth = self.chance.below(N_NODES);
                let is_careless = self.chance.often(70);
                self.wake(nth, is_careless);
                if self.nodes[nth].is_careless {
                    self.end_one(nth).await?;
                }
            }
            _ => self.break_something().await,
        }
        Ok(())
    }

    /// Stops a node, one with claims if there is one; often for longer than its leases, so that another one
    /// takes up its work.
    async fn stop(&mut self) -> Checked {
        let up = self.with_life(Life::Up);
        let at_work = up.iter().find(|nth| !self.nodes[**nth].held.is_empty());
        let Some(nth) = at_work.or(up.first()).copied() else {
            return Ok(());
        };
        self.nodes[nth].life = Life::Paused;
        let span = self.chance.one_of(&[0, 31, 62]);
        self.stand.clock.advance(Duration::from_secs(span));
        self.note(|| format!("node {nth} is stopped, for {span} s at least"));
        let others = self.with_life(Life::Up);
        if let Some(other) = others.first().copied() {
            self.sweep(other).await?;
            self.stand.clock.advance(Duration::from_secs(2));
            self.claim(other, 4).await?;
        }
        Ok(())
    }

    /// Lets a node go on that was stopped, or starts one that is down.
    pub(crate) fn wake(&mut self, nth: usize, is_careless: bool) {
        match self.nodes[nth].life {
            Life::Up => {}
            Life::Paused => {
                self.nodes[nth].life = Life::Up;
                self.nodes[nth].is_careless = is_careless;
                self.note(|| format!("node {nth} goes on"));
            }
            Life::Down => {
                self.nodes[nth] = Node::new(self.stand, nth, self.truth.clone(), self.plant);
                self.note(|| format!("node {nth} starts again"));
            }
        }
    }

    pub(crate) fn begin(&mut self, nth: usize, name: &str, payload: Value) {
        self.n_calls += 1;
        let id = self.n_calls;
        self.note(|| format!("node {nth}: call {id} {name} {payload}"));
        self.nodes[nth].begin(id, name, payload, self.stand);
    }

    /// Lets one call of a node make some of its requests.
    async fn go_on(&mut self, nth: usize) -> Checked {
        let n_calls = self.nodes[nth].calls.len();
        if n_calls == 0 {
            return Ok(());
        }
        let at = self.chance.below(n_calls);
        let n = self.chance.one_of(&N_GATES);
        for _ in 0..n {
            if self.go_on_once(nth, at).await? != Went::On {
                break;
            }
        }
        Ok(())
    }

    /// One request of a call.
    pub(crate) async fn go_on_once(&mut self, nth: usize, at: usize) -> Result<Went, String> {
        let wanted = match self.nodes[nth].look(at).await {
            Ok(wanted) => wanted,
            Err(answer) => {
                let call = self.nodes[nth].remove(at);
                self.note(|| format!("node {nth}: call {} {} ends {answer:?}", call.id, call.name));
                self.heard(&call.name, &call.payload, answer).await?;
                return Ok(Went::Ended);
            }
        };
        let mut verdict = self.verdict();
        if wanted.writes {
            let others = (0..N_NODES).filter(|other| self.nodes[*other].host.is_in_transaction());
            match others.map(|other| self.nodes[other].life).next() {
                None => {}
                // It would wait for as long, and then be told so.
                Some(Life::Paused) => verdict = Verdict::Busy,
                Some(_) => return Ok(Went::Waits),
            }
        }
        let id = self.nodes[nth].calls[at].id;
        if verdict != Verdict::Go {
            self.note(|| format!("node {nth}: call {id}: {} {verdict:?}", wanted.method));
        }
        if wanted.method == "clock/now" {
            // So no occurrence that is asked for by hand falls on one of a schedule, and the two can be told apart.
            self.stand.clock.advance(Duration::from_millis(1));
        }
        self.seen.n_requests += 1;
        self.nodes[nth].grant(at, verdict);
        // What it asked for is done before anything else happens.
        let _ = self.nodes[nth]
            .look(at)
            .await
            .map_err(|answer| self.keep(nth, at, answer));
        Ok(Went::On)
    }

    /// A call that has ended is asked once more for its answer, which is kept until then.
    fn keep(&mut self, nth: usize, at: usize, answer: Result<Value, String>) {
        self.nodes[nth].calls[at].answered = Some(answer);
    }

    fn verdict(&mut self) -> Verdict {
        if !self.chance.often(self.faults) {
            return Verdict::Go;
        }
        self.seen.n_faults += 1;
        self.chance
            .one_of(&[Verdict::FailBefore, Verdict::FailAfter])
    }

    pub(crate) async fn claim(&mut self, nth: usize, n: usize) -> Checked {
        let verdict = self.verdict();
        if verdict == Verdict::FailBefore {
            return Ok(());
        }
        let holder = format!("node {nth}");
        let claim = Claim {
            queue: RUNS,
            holder: &holder,
            n,
            lease_ms: LEASE_MS,
            caps: &[],
            plugins: None,
        };
        let claimed = self.stand.stores[nth].queue().claim(&claim).await;
        let claimed = claimed.map_err(|error| format!("claiming: {error}"))?;
        let ids: Vec<_> = claimed
            .iter()
            .map(|one| (one.lease.id.clone(), one.lease.token))
            .collect();
        self.note(|| format!("node {nth} claims {ids:?} {verdict:?}"));
        let now_ms = self.now_ms();
        lock(&self.truth).jobs.claim(n, now_ms, &claimed)?;
        if verdict == Verdict::Go {
            let trusted_until = self.stand.clock.elapsed() + LEASE - LEASE / 6;
            self.nodes[nth]
                .held
                .extend(claimed.into_iter().map(|one| Held {
                    lease: one.lease,
                    trusted_until,
                    cancel: false,
                }));
        }
        Ok(())
    }

    async fn renew(&mut self, nth: usize) -> Checked {
        let verdict = self.verdict();
        let leases: Vec<JobLease> = self
            .trusted(nth)
            .into_iter()
            .map(|held| held.lease)
            .collect();
        if leases.is_empty() || verdict == Verdict::FailBefore {
            return Ok(());
        }
        let renewed = self.stand.stores[nth]
            .queue()
            .renew(&leases, LEASE_MS)
            .await;
        let renewed = renewed.map_err(|error| format!("renewing: {error}"))?;
        self.note(|| format!("node {nth} renews {leases:?}: {renewed:?} {verdict:?}"));
        let now_ms = self.now_ms();
        for (lease, renewed) in leases.iter().zip(&renewed) {
            lock(&self.truth).jobs.renew(lease, now_ms, *renewed)?;
        }
        if verdict != Verdict::Go {
            return Ok(());
        }
        let trusted_until = self.stand.clock.elapsed() + LEASE - LEASE / 6;
        self.nodes[nth].held.retain_mut(|held| {
            let answer = leases
                .iter()
                .zip(&renewed)
                .find(|(lease, _)| **lease == held.lease);
            match answer {
                Some((_, Renewed::Held { cancel, .. })) => {
                    (held.trusted_until, held.cancel) = (trusted_until, *cancel);
                    true
                }
                Some((_, Renewed::Lost)) => false,
                None => true,
            }
        });
        Ok(())
    }

    /// The claims of which a node still speaks. An honest one gives those up whose time is over.
    fn trusted(&mut self, nth: usize) -> Vec<Held> {
        let now = self.stand.clock.elapsed();
        let node = &mut self.nodes[nth];
        let is_careless = node.is_careless;
        node.held
            .retain(|held| is_careless || held.trusted_until > now);
        node.held.clone()
    }

    fn one_held(&mut self, nth: usize) -> Option<Held> {
        let held = self.trusted(nth);
        if held.is_empty() {
            return None;
        }
        Some(held[self.chance.below(held.len())].clone())
    }

    /// The effect of a run, which happens once however often it is tried.
    pub(crate) async fn do_it(&mut self, nth: usize) -> Checked {
        let Some(held) = self.one_held(nth) else {
            return Ok(());
        };
        self.effect(nth, &held.lease).await
    }

    pub(crate) async fn effect(&mut self, nth: usize, lease: &JobLease) -> Checked {
        let verdict = self.verdict();
        if verdict == Verdict::FailBefore {
            return Ok(());
        }
        let text = format!("{}", lease.token);
        let value = RawValue::from_string(text.clone()).expect("is JSON");
        let effect = self.stand.stores[nth]
            .queue()
            .effect(lease, "done", &value)
            .await;
        let effect = effect.map_err(|error| format!("an effect: {error}"))?;
        self.note(|| format!("node {nth} does {lease:?}: {effect:?}"));
        self.seen.n_zombies_refused += usize::from(matches!(effect, Effect::Lost));
        let now_ms = self.now_ms();
        lock(&self.truth).jobs.effect(lease, &text, now_ms, &effect)
    }

    async fn end_one(&mut self, nth: usize) -> Checked {
        let Some(held) = self.one_held(nth) else {
            return Ok(());
        };
        let how = match held.cancel {
            true => How::Cancelled,
            false => self.chance.one_of(&[
                How::Complete,
                How::Complete,
                How::Complete,
                How::Fail,
                How::Retry,
                How::Release,
                How::Block,
            ]),
        };
        self.end(nth, &held.lease, how).await
    }

    pub(crate) async fn end(&mut self, nth: usize, lease: &JobLease, how: How) -> Checked {
        let verdict = self.verdict();
        if verdict == Verdict::FailBefore {
            return Ok(());
        }
        let mut said = lease.clone();
        if self.plant == Some(Plant::TokenIgnored) {
            said.token = lock(&self.truth).jobs.jobs[&lease.id].token;
        }
        let ending = match how {
            How::Complete => Ending::Complete { result: None },
            How::Fail => Ending::Fail(WHY),
            How::Block => Ending::Block(WHY),
            How::Cancelled => Ending::Cancelled(WHY),
            How::Retry => Ending::Retry {
                reason: WHY,
                after_ms: 1_000,
            },
            How::Release => Ending::Release { after_ms: 0 },
        };
        let end = End {
            lease: &said,
            how: ending,
        };
        let took = self.stand.stores[nth].queue().end(&[end]).await;
        let took = took.map_err(|error| format!("ending: {error}"))?[0];
        self.note(|| format!("node {nth} ends {lease:?} {how:?}: {took} {verdict:?}"));
        self.seen.n_zombies_refused += usize::from(!took);
        let now_ms = self.now_ms();
        lock(&self.truth).jobs.end(lease, how, now_ms, took)?;
        if verdict == Verdict::Go {
            self.nodes[nth].held.retain(|held| held.lease != *lease);
        }
        Ok(())
    }

    pub(crate) async fn sweep(&mut self, nth: usize) -> Checked {
        let recovered = self.stand.stores[nth].queue().recover(&LOST).await;
        let recovered = recovered.map_err(|error| format!("taking back: {error}"))?;
        let ids: Vec<_> = recovered.into_iter().map(|job| job.id).collect();
        self.seen.n_taken_back += ids.len();
        self.note(|| format!("node {nth} takes back {ids:?}"));
        let now_ms = self.now_ms();
        lock(&self.truth).jobs.recover(now_ms, ids)
    }

    async fn cancel_something(&mut self, nth: usize) -> Checked {
        let ids: Vec<String> = lock(&self.truth).jobs.jobs.keys().cloned().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.chance.below(ids.len())].clone();
        let cancelled = self.stand.stores[nth].queue().cancel(&id).await;
        let cancelled = cancelled.map_err(|error| format!("cancelling: {error}"))?;
        self.note(|| format!("node {nth} cancels {id}: {cancelled:?}"));
        let now_ms = self.now_ms();
        lock(&self.truth).jobs.cancel(&id, now_ms, cancelled)
    }

    /// Somebody writes nonsense into a row, where no transaction is in the way.
    async fn break_something(&mut self) {
        if self.nodes.iter().any(|node| node.host.is_in_transaction()) {
            return;
        }
        let Some((table, id)) = self.tasks.to_break(&mut self.chance) else {
            return;
        };
        let text = "{\"broken\": true}".to_owned();
        // Who writes past the scheduler moves what changes are guarded by, too; else it would be a lost update.
        let guard = match table {
            "tasks" => "revision = revision + 1",
            _ => "token_at_ms = token_at_ms + 1",
        };
        let sql = format!("UPDATE {table} SET record = ?, {guard} WHERE id = ?");
        let cells = [Cell::Text(text.clone()), Cell::Text(id.clone())];
        self.stand.sql(&sql, cells).await;
        self.note(|| format!("a row of {table} is broken: {id}"));
        self.tasks.broken.insert(id, text);
    }
}

/// How far a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    On,
    /// Somebody is in the way.
    Waits,
    Ended,
}
