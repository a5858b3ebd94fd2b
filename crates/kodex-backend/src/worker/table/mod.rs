//! The requests that are in flight in one process, and who reads its answers at the moment.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use kodex_plugin::{Json, PluginError};

use super::answer::Expected;

/// Who reads the pipe.
///
/// A caller that is alone reads its own answer, which saves waking another task twice; as soon as
/// there are several, or nobody, the pump of the process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    /// Nobody at the moment; the next caller or the next tick of the pump takes over.
    Free,
    /// The caller that waits for this request.
    Caller(u64),
    /// The pump.
    Pump,
}

/// What came of a request: the reply, or nothing, or an error.
pub(super) type Answer = Result<Option<Json>, PluginError>;

/// The side of a request that waits for its answer.
#[derive(Debug)]
enum Caller {
    Waiting(Option<Waker>),
    /// It is answered and its caller has not looked yet.
    Answered(Answer),
    /// The caller no longer wants to know.
    Gone,
}

#[derive(Debug)]
struct Entry {
    caller: Caller,
    deadline_at: Instant,
    expected: Expected,
    /// Set when the process was told that the answer is no longer wanted. Without an answer by
    /// then, the process ends.
    end_at: Option<Instant>,
    /// Its deadline passed, and the process has only the grace left to answer.
    overdue: bool,
}

/// Why a request cannot be begun.
#[derive(Debug)]
pub(super) enum Barred {
    /// The process is given up, for this reason.
    Closed(PluginError),
    /// The process has an overdue request. Within the grace it is known whether it lives on.
    OnProbation,
    /// Too many requests are open, those that nobody waits for any more included.
    Full,
}

/// Requests that may be open in one process. The runtime lets far fewer run; callers that leave
/// early add to them until the process answers or their deadline passes.
const MAX_OPEN: usize = 1_024;

/// What the process's answer to a request was good for.
#[derive(Debug)]
pub(super) enum Delivered {
    /// The caller has it; wake it.
    Wanted(Option<Waker>),
    /// The request had been cancelled.
    Late,
    /// There is no such request, or it was answered before.
    Unknown,
}

/// What a caller finds when it looks.
#[derive(Debug)]
pub(super) enum Look {
    /// Its answer, and whether the pump has to read from now on.
    Answered { answer: Answer, hand_over: bool },
    /// None yet; the caller reads the pipe, and tells the pump if that did so until now.
    Lead { tell_pump: bool },
    /// None yet; somebody else reads.
    Follow,
}

/// The open requests by their ids, which only grow: a new one stands at the end. Mostly there are a
/// handful, which lie side by side and cost no memory of their own.
#[derive(Debug)]
struct Entries(Vec<(u64, Entry)>);

impl Entries {
    fn place(&self, id: u64) -> Option<usize> {
        match self.0.last() {
            // The newest is asked for most often, because it is often the only one.
            Some((last, _)) if *last == id => Some(self.0.len() - 1),
            _ => self.0.binary_search_by_key(&id, |(id, _)| *id).ok(),
        }
    }

    fn find(&self, id: u64) -> Option<&Entry> {
        let at = self.place(id)?;
        self.0.get(at).map(|(_, entry)| entry)
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut Entry> {
        let at = self.place(id)?;
        self.0.get_mut(at).map(|(_, entry)| entry)
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let at = self.place(id)?;
        Some(self.0.remove(at).1)
    }

    #[cfg(test)]
    fn values(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter().map(|(_, entry)| entry)
    }
}

#[derive(Debug)]
pub(super) struct Table {
    entries: Entries,
    last_id: u64,
    n_waiting: usize,
    n_overdue: usize,
    pub(super) leader: Leader,
    /// When the pump wakes up by itself; a request that is due earlier has to wake it.
    pub(super) pump_wakes_at: Option<Instant>,
    /// Set once, when the process is given up.
    closed: Option<PluginError>,
    /// Answers that came too late, twice, or to no request.
    pub(super) n_discarded: u64,
}

/// What is due.
#[derive(Debug, Default)]
pub(super) struct Expired {
    /// Requests whose deadline has just passed: a cancel message is due for each.
    pub(super) cancel: Vec<u64>,
    /// Their callers.
    pub(super) wakers: Vec<Waker>,
    /// Whether a cancelled request was not answered in time either: the process has to end.
    pub(super) end: bool,
    /// The next moment at which something is due.
    pub(super) next_at: Option<Instant>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            entries: Entries(Vec::new()),
            last_id: 0,
            n_waiting: 0,
            n_overdue: 0,
            leader: Leader::Pump,
            pump_wakes_at: None,
            closed: None,
            n_discarded: 0,
        }
    }

    /// A new request.
    pub(super) fn insert(
        &mut self,
        deadline_at: Instant,
        expected: Expected,
    ) -> Result<u64, Barred> {
        if let Some(error) = &self.closed {
            return Err(Barred::Closed(error.clone()));
        }
        if self.n_overdue > 0 && expected == Expected::Reply {
            return Err(Barred::OnProbation);
        }
        if self.entries.0.len() >= MAX_OPEN {
            return Err(Barred::Full);
        }
        self.last_id += 1;
        self.n_waiting += 1;
        let entry = Entry {
            caller: Caller::Waiting(None),
            deadline_at,
            expected,
            end_at: None,
            overdue: false,
        };
        self.entries.0.push((self.last_id, entry));
        Ok(self.last_id)
    }

    /// Whether no other request has a caller, be it answered or not.
    pub(super) fn is_alone(&self, id: u64) -> bool {
        let has_caller = |entry: &Entry| !matches!(entry.caller, Caller::Gone);
        let mut others = self.entries.0.iter().filter(|(other, _)| *other != id);
        !others.any(|(_, entry)| has_caller(entry))
    }

    /// Takes back a request that was not sent.
    pub(super) fn withdraw(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(id)
            && matches!(entry.caller, Caller::Waiting(_))
        {
            self.n_waiting -= 1;
        }
    }

    /// Whether an overdue request decides at present whether the process lives on.
    pub(super) fn is_on_probation(&self) -> bool {
        self.n_overdue > 0
    }

    pub(super) fn closed(&self) -> Option<&PluginError> {
        self.closed.as_ref()
    }

    /// A caller looks for its answer, and learns whether it is its turn to read.
    pub(super) fn look(&mut self, id: u64, waker: &Waker) -> Look {
        let Some(entry) = self.entries.find_mut(id) else {
            // Only a caller that looks again after it was answered comes here.
            return Look::Follow;
        };
        match &mut entry.caller {
            Caller::Waiting(known) => {
                let first_look = known.is_none();
                match known {
                    Some(known) if known.will_wake(waker) => {}
                    _ => *known = Some(waker.clone()),
                }
                // The pump gives way to a caller that is alone, but only once for each: what takes
                // long is the pump's.
                let tell_pump = self.leader == Leader::Pump;
                let mine = match self.leader {
                    Leader::Free => true,
                    Leader::Caller(leader) => leader == id,
                    Leader::Pump => first_look && self.n_waiting == 1,
                };
                if !mine {
                    return Look::Follow;
                }
                self.leader = Leader::Caller(id);
                Look::Lead { tell_pump }
            }
            Caller::Gone => Look::Follow,
            Caller::Answered(_) => {
                let answered = std::mem::replace(&mut entry.caller, Caller::Gone);
                if entry.end_at.is_none() {
                    self.entries.remove(id);
                }
                let hand_over = self.step_down(id);
                match answered {
                    Caller::Answered(answer) => Look::Answered { answer, hand_over },
                    Caller::Waiting(_) | Caller::Gone => Look::Follow,
                }
            }
        }
    }

    /// The process answered a request. The answer is read in the form that is expected, and only if
    /// somebody wants it.
    pub(super) fn deliver(
        &mut self,
        id: u64,
        answer: impl FnOnce(Expected) -> Answer,
    ) -> Delivered {
        let Some(entry) = self.entries.find_mut(id) else {
            return Delivered::Unknown;
        };
        if entry.end_at.take().is_some() {
            self.n_overdue -= usize::from(std::mem::take(&mut entry.overdue));
            if matches!(entry.caller, Caller::Gone) {
                self.entries.remove(id);
            }
            return Delivered::Late;
        }
        match &mut entry.caller {
            Caller::Waiting(waker) => {
                let waker = waker.take();
                entry.caller = Caller::Answered(answer(entry.expected));
                self.n_waiting -= 1;
                Delivered::Wanted(waker)
            }
            Caller::Answered(_) | Caller::Gone => Delivered::Unknown,
        }
    }

    /// The caller of a request went away. Returns whether a cancel message is due.
    pub(super) fn abandon(&mut self, id: u64, now: Instant, grace: Duration) -> bool {
        let Some(entry) = self.entries.find_mut(id) else {
            return false;
        };
        match std::mem::replace(&mut entry.caller, Caller::Gone) {
            Caller::Waiting(_) => {
                self.n_waiting -= 1;
                // A caller that leaves early leaves the process the time that it was promised.
                entry.end_at = Some(entry.deadline_at.max(now + grace));
                entry.overdue = entry.deadline_at <= now;
                self.n_overdue += usize::from(entry.overdue);
                true
            }
            Caller::Answered(_) | Caller::Gone => {
                if entry.end_at.is_none() {
                    self.entries.remove(id);
                }
                false
            }
        }
    }

    /// Finds what is overdue: waiting callers get `error`, unanswered cancels end the process.
    pub(super) fn expire(&mut self, now: Instant, grace: Duration, error: &PluginError) -> Expired {
        let mut expired = Expired::default();
        for (id, entry) in &mut self.entries.0 {
            if let Caller::Waiting(waker) = &mut entry.caller
                && entry.deadline_at <= now
            {
                expired.wakers.extend(waker.take());
                expired.cancel.push(*id);
                entry.caller = Caller::Answered(Err(error.clone()));
                entry.end_at = Some(now + grace);
                entry.overdue = true;
                self.n_overdue += 1;
                self.n_waiting -= 1;
            }
            let due_at = match (&entry.caller, entry.end_at) {
                (_, Some(end_at)) => {
                    expired.end |= end_at <= now;
                    Some(end_at)
                }
                (Caller::Waiting(_), None) => Some(entry.deadline_at),
                (Caller::Answered(_) | Caller::Gone, None) => None,
            };
            expired.next_at = match (expired.next_at, due_at) {
                (Some(known), Some(due_at)) => Some(known.min(due_at)),
                (known, due_at) => known.or(due_at),
            };
        }
        expired
    }

    /// Gives the process up: everyone who waits gets the error, and so does everyone who comes.
    /// The first reason stays. Returns whom to wake.
    pub(super) fn close(&mut self, error: &PluginError) -> Vec<Waker> {
        let error = self.closed.get_or_insert_with(|| error.clone()).clone();
        let mut wakers = Vec::new();
        for (_, entry) in &mut self.entries.0 {
            if let Caller::Waiting(waker) = &mut entry.caller {
                wakers.extend(waker.take());
                entry.caller = Caller::Answered(Err(error.clone()));
            }
            entry.end_at = None;
            entry.overdue = false;
        }
        self.n_overdue = 0;
        self.entries
            .0
            .retain(|(_, entry)| !matches!(entry.caller, Caller::Gone));
        self.n_waiting = 0;
        wakers
    }

    /// Who has to be woken because somebody else read the pipe in its place just now.
    pub(super) fn waker_of_leader(&mut self) -> Option<Waker> {
        let Leader::Caller(id) = self.leader else {
            return None;
        };
        match &self.entries.find(id)?.caller {
            Caller::Waiting(waker) => waker.clone(),
            Caller::Answered(_) | Caller::Gone => None,
        }
    }

    /// The caller that leads stops to read. Returns whether somebody else has to.
    pub(super) fn step_down(&mut self, id: u64) -> bool {
        if self.leader != Leader::Caller(id) {
            return false;
        }
        if self.n_waiting == 0 {
            self.leader = Leader::Free;
            return false;
        }
        self.leader = Leader::Pump;
        true
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; time is moved by hand from there"
)]
mod tests;
