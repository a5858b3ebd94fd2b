//! Whether a process that ended may be started again: a pure function of state, time and event.
//!
//! The first restart after a healthy life is immediate; after that each short life doubles the
//! wait. A budget within a window bounds the whole; who overdraws it is quarantined until somebody
//! clears it. Nothing here sleeps, reads a clock or draws a random number.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The numbers of the rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartPolicy {
    /// The wait before the second restart in a row; doubles from there.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// A life of at least this long is healthy: the next restart is immediate again.
    pub healthy_after: Duration,
    /// Restarts allowed within the window.
    pub budget: usize,
    /// The window.
    pub window: Duration,
    /// The share by which a wait may be longer or shorter, 0 to 1.
    pub jitter: f64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(60),
            healthy_after: Duration::from_secs(60),
            budget: 5,
            window: Duration::from_secs(300),
            jitter: 0.2,
        }
    }
}

/// What happens to a process, as far as restarts are concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// Somebody wants it to run and it does not.
    Wanted,
    /// It ended because it was asked to.
    Stopped,
    /// It ended otherwise, or could not be started. The number, from 0 to 1, chooses the jitter.
    Died(f64),
    /// Somebody decided that it may run again.
    Cleared,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Start it now. Counts as started.
    Start,
    /// Not before this moment.
    Wait(Instant),
    /// Not until somebody clears it.
    Quarantined,
    /// Nothing.
    Idle,
}

/// The restarts of one process.
#[derive(Debug, Clone, Default)]
pub struct Restarts {
    started_at: Option<Instant>,
    /// Lives in a row that ended before they were healthy, the last healthy one included.
    n_short: u32,
    due_at: Option<Instant>,
    /// The last restarts, oldest first; never more than the budget.
    recent: VecDeque<Instant>,
    quarantined: bool,
    n_restarts: u64,
}

impl Restarts {
    /// Takes an event and says what to do.
    pub fn on(&mut self, policy: &RestartPolicy, now: Instant, event: Event) -> Decision {
        match event {
            Event::Wanted => self.wanted(policy, now),
            Event::Stopped => {
                self.started_at = None;
                self.n_short = 0;
                self.due_at = None;
                Decision::Idle
            }
            Event::Died(random) => self.died(policy, now, random),
            Event::Cleared => {
                self.recent.clear();
                self.quarantined = false;
                self.n_short = 0;
                self.due_at = None;
                Decision::Idle
            }
        }
    }

    fn wanted(&mut self, policy: &RestartPolicy, now: Instant) -> Decision {
        if self.quarantined {
            return Decision::Quarantined;
        }
        match self.due_at {
            Some(due_at) if now < due_at => return Decision::Wait(due_at),
            Some(_) => {
                self.recent.push_back(now);
                // More than the budget cannot matter to any verdict.
                if self.recent.len() > policy.budget {
                    self.recent.pop_front();
                }
                self.n_restarts += 1;
            }
            None => {}
        }
        self.due_at = None;
        self.started_at = Some(now);
        Decision::Start
    }

    fn died(&mut self, policy: &RestartPolicy, now: Instant, random: f64) -> Decision {
        let life = self
            .started_at
            .take()
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.n_short = if life >= policy.healthy_after {
            1
        } else {
            self.n_short.saturating_add(1)
        };
        let due_at = now + wait(policy, self.n_short, random);
        self.due_at = Some(due_at);
        // Judged for the moment at which the restart is due, so that the verdict is known now.
        let within = |at: &&Instant| due_at.saturating_duration_since(**at) < policy.window;
        let n_recent = self.recent.iter().filter(within).count();
        self.quarantined |= n_recent >= policy.budget;
        if self.quarantined {
            return Decision::Quarantined;
        }
        Decision::Wait(due_at)
    }

    /// Whether somebody has to decide.
    #[must_use]
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// When the next restart is allowed, while one is due.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// How often the process was started again.
    #[must_use]
    pub fn n_restarts(&self) -> u64 {
        self.n_restarts
    }
}

fn wait(policy: &RestartPolicy, n_short: u32, random: f64) -> Duration {
    let Some(doublings) = n_short.checked_sub(2) else {
        return Duration::ZERO;
    };
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    let wait = policy
        .first_wait
        .saturating_mul(factor)
        .min(policy.longest_wait);
    let share = 1.0 + policy.jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
    wait.mul_f64(share)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; time is moved by hand from there"
)]
mod tests;
