//! The circuit breaker: a pure state machine over outcomes and a `now` that is handed in.
//!
//! Libraries made for services trip after dozens of calls; hooks run a few times a minute, so the
//! window is short and three timeouts or two crashes in a row are enough. It never sleeps, reads
//! no clock and draws no random number: the jitter comes from a hash of the breaker's seed and of
//! how often it opened.

mod window;

use std::time::{Duration, Instant};

use window::Window;

/// When a breaker opens and closes. See the reference for the allowed ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerSettings {
    /// How many of the last outcomes count.
    pub window: usize,
    /// Outcomes older than this do not count.
    pub window_age: Duration,
    /// Fewer outcomes than this never open it by ratio.
    pub min_calls: usize,
    /// Share of failures that opens it.
    pub failure_ratio: f64,
    /// Share of slow successes that opens it.
    pub slow_ratio: f64,
    /// A success is slow when it took more than this share of its timeout.
    pub slow_after: f64,
    /// Timeouts in a row that open it.
    pub timeouts_in_a_row: u32,
    /// Crashes in a row that open it.
    pub crashes_in_a_row: u32,
    /// How long it stays open the first time; doubled at each reopening.
    pub open_for: Duration,
    /// The longest time it stays open.
    pub open_cap: Duration,
    /// Share by which the open time is varied, up and down.
    pub jitter: f64,
    /// The doubling starts afresh after this long without opening.
    pub clean_after: Duration,
    /// Successes in half-open that close it.
    pub probes_to_close: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            window: 20,
            window_age: Duration::from_secs(600),
            min_calls: 5,
            failure_ratio: 0.5,
            slow_ratio: 0.8,
            slow_after: 0.8,
            timeouts_in_a_row: 3,
            crashes_in_a_row: 2,
            open_for: Duration::from_secs(30),
            open_cap: Duration::from_secs(15 * 60),
            jitter: 0.2,
            clean_after: Duration::from_secs(600),
            probes_to_close: 2,
        }
    }
}

/// Whether calls flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls flow, failures are counted.
    Closed,
    /// Calls are refused at once.
    Open,
    /// One probe at a time decides.
    HalfOpen,
}

/// How one admitted call ended, as far as the breaker cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It succeeded in good time.
    Ok,
    /// It succeeded, but took most of its timeout.
    Slow,
    /// It failed in a way that is neither a timeout nor a crash.
    Failed,
    /// It ran out of time.
    TimedOut,
    /// Its process or thread ended.
    Crashed,
    /// It ended in a way that says nothing about the plugin, such as a cancellation.
    Void,
}

/// What an operator may set by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// Refuse every call until the moment.
    ForcedOpen(Instant),
    /// Let every call through and count nothing until the moment.
    Ignored(Instant),
}

/// A change of state, to be told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: BreakerState,
    /// After.
    pub to: BreakerState,
}

/// Leave to make one call. Every permit must be given back with [`Breaker::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    probe: bool,
    generation: u64,
}

/// Refused, and how long to wait before asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Time until the next probe may run.
    pub retry_after: Duration,
}

/// The breaker of one plugin and hook.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    seed: u64,
    state: BreakerState,
    window: Window,
    timeouts_in_a_row: u32,
    crashes_in_a_row: u32,
    /// How often it opened without a long clean time between; the exponent of the open time.
    reopened: u32,
    opened_at: Option<Instant>,
    open_until: Option<Instant>,
    closed_at: Option<Instant>,
    probing: bool,
    probes_ok: u32,
    by_hand: Option<Override>,
    /// Grows with every change of state, so that a permit from before it is recognised.
    generation: u64,
}

impl Permit {
    /// A permit as one number, for an atomic; 0 stands for none.
    pub(crate) fn pack(free: Option<Self>) -> u64 {
        free.map_or(0, |permit| permit.generation + 1)
    }

    /// The permit behind [`Permit::pack`].
    #[inline]
    pub(crate) fn unpack(packed: u64) -> Option<Self> {
        packed.checked_sub(1).map(|generation| Self {
            probe: false,
            generation,
        })
    }
}

impl Breaker {
    /// A closed breaker. The seed decides the jitter; two breakers should differ.
    #[must_use]
    pub fn new(settings: BreakerSettings, seed: u64) -> Self {
        Self {
            window: Window::new(settings.window),
            settings,
            seed,
            state: BreakerState::Closed,
            timeouts_in_a_row: 0,
            crashes_in_a_row: 0,
            reopened: 0,
            opened_at: None,
            open_until: None,
            closed_at: None,
            probing: false,
            probes_ok: 0,
            by_hand: None,
            generation: 0,
        }
    }

    /// The state, without asking for a call.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// When it last opened.
    #[must_use]
    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// Until when it stays open, if it is.
    #[must_use]
    pub fn open_until(&self) -> Option<Instant> {
        match self.by_hand {
            Some(Override::ForcedOpen(until)) => Some(until),
            _ => self.open_until,
        }
    }

    /// Whether an operator has set it by hand.
    #[must_use]
    pub fn by_hand(&self) -> Option<Override> {
        self.by_hand
    }

    /// The permit that every caller gets while nothing but a change of state can refuse one: closed,
    /// and not set by hand. Callers may keep it until then and skip [`Breaker::admit`].
    #[must_use]
    pub(crate) fn free_pass(&self) -> Option<Permit> {
        (self.state == BreakerState::Closed && self.by_hand.is_none()).then(|| self.permit(false))
    }

    /// Asks for leave to make a call.
    ///
    /// # Errors
    /// `Refused` while it is open, and in half-open while another probe runs.
    pub fn admit(&mut self, now: Instant) -> Result<(Permit, Option<Transition>), Refused> {
        match self.by_hand {
            Some(Override::ForcedOpen(until)) if now < until => {
                return Err(Refused {
                    retry_after: until - now,
                });
            }
            Some(Override::Ignored(until)) if now < until => return Ok((self.permit(false), None)),
            Some(_) => self.by_hand = None,
            None => {}
        }
        match self.state {
            BreakerState::Closed => Ok((self.permit(false), None)),
            BreakerState::Open => {
                let until = self.open_until.unwrap_or(now);
                if now < until {
                    return Err(Refused {
                        retry_after: until - now,
                    });
                }
                let transition = self.go(BreakerState::HalfOpen);
                self.probes_ok = 0;
                self.probing = true;
                Ok((self.permit(true), Some(transition)))
            }
            // A probe that is still running keeps others out, so a hung plugin meets one caller.
            BreakerState::HalfOpen if self.probing => Err(Refused {
                retry_after: Duration::from_millis(100),
            }),
            BreakerState::HalfOpen => {
                self.probing = true;
                Ok((self.permit(true), None))
            }
        }
    }

    /// Gives a permit back and says how the call ended.
    #[inline]
    pub fn record(&mut self, permit: Permit, ended: Ended, now: Instant) -> Option<Transition> {
        if matches!(self.by_hand, Some(Override::Ignored(until)) if now < until) {
            self.probing &= !permit.probe;
            return None;
        }
        // A call from before the last change of state says nothing about the present one.
        if permit.generation != self.generation {
            return None;
        }
        match self.state {
            BreakerState::Closed => self.record_closed(ended, now),
            BreakerState::HalfOpen if permit.probe => self.record_probe(ended, now),
            BreakerState::HalfOpen | BreakerState::Open => None,
        }
    }

    /// Sets it by hand until a moment, or takes the setting back with `None`.
    pub fn set_by_hand(&mut self, by_hand: Option<Override>) {
        self.by_hand = by_hand;
    }

    /// Closes it and forgets everything it counted.
    pub fn reset(&mut self, now: Instant) -> Option<Transition> {
        let transition =
            (self.state != BreakerState::Closed).then(|| self.go(BreakerState::Closed));
        self.forget();
        self.reopened = 0;
        self.closed_at = Some(now);
        self.by_hand = None;
        transition
    }

    fn permit(&self, probe: bool) -> Permit {
        Permit {
            probe,
            generation: self.generation,
        }
    }

    fn go(&mut self, to: BreakerState) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        self.probing = false;
        self.open_until = None;
        self.generation += 1;
        Transition { from, to }
    }

    fn forget(&mut self) {
        self.window.clear();
        self.timeouts_in_a_row = 0;
        self.crashes_in_a_row = 0;
    }

    #[inline]
    fn record_closed(&mut self, ended: Ended, now: Instant) -> Option<Transition> {
        match ended {
            Ended::Void => return None,
            Ended::TimedOut => self.timeouts_in_a_row += 1,
            Ended::Crashed => self.crashes_in_a_row += 1,
            Ended::Ok | Ended::Slow | Ended::Failed => {}
        }
        if ended != Ended::TimedOut {
            self.timeouts_in_a_row = 0;
        }
        if ended != Ended::Crashed {
            self.crashes_in_a_row = 0;
        }
        // Age matters only where something can open it; a run of successes is the usual case.
        if ended != Ended::Ok || !self.window.is_clean() {
            self.window.forget_older(self.settings.window_age, now);
        }
        self.window.push(now, ended);
        self.must_open().then(|| self.open(now))
    }

    #[inline]
    fn must_open(&self) -> bool {
        let (settings, window) = (&self.settings, &self.window);
        if self.timeouts_in_a_row >= settings.timeouts_in_a_row
            || self.crashes_in_a_row >= settings.crashes_in_a_row
        {
            return true;
        }
        if window.is_clean() || window.len() < settings.min_calls {
            return false;
        }
        window.failure_ratio() >= settings.failure_ratio
            || window.slow_ratio() >= settings.slow_ratio
    }

    fn record_probe(&mut self, ended: Ended, now: Instant) -> Option<Transition> {
        self.probing = false;
        match ended {
            Ended::Void => None,
            Ended::Ok | Ended::Slow => {
                self.probes_ok += 1;
                (self.probes_ok >= self.settings.probes_to_close).then(|| {
                    self.forget();
                    self.closed_at = Some(now);
                    self.go(BreakerState::Closed)
                })
            }
            Ended::Failed | Ended::TimedOut | Ended::Crashed => Some(self.open(now)),
        }
    }

    fn open(&mut self, now: Instant) -> Transition {
        let clean = self
            .closed_at
            .is_some_and(|at| now.saturating_duration_since(at) >= self.settings.clean_after);
        if clean && self.state == BreakerState::Closed {
            self.reopened = 0;
        }
        let open_for = self.open_time();
        self.reopened = self.reopened.saturating_add(1);
        self.forget();
        let transition = self.go(BreakerState::Open);
        self.opened_at = Some(now);
        self.open_until = Some(now + open_for);
        transition
    }

    fn open_time(&self) -> Duration {
        let doubled = self
            .settings
            .open_for
            .saturating_mul(1 << self.reopened.min(16));
        let unit = (mix(self.seed ^ u64::from(self.reopened)) >> 11) as f64 / (1u64 << 53) as f64;
        let factor = 1.0 + self.settings.jitter * (2.0 * unit - 1.0);
        doubled
            .min(self.settings.open_cap)
            .mul_f64(factor)
            .min(self.settings.open_cap)
    }
}

fn is_failure(ended: Ended) -> bool {
    matches!(ended, Ended::Failed | Ended::TimedOut | Ended::Crashed)
}

/// The finaliser of splitmix64: spreads neighbouring seeds over all bits.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
