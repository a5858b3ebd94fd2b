#![expect(
    clippy::disallowed_methods,
    reason = "the stories need some moment to start from"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Runs a story such as `fail fail | +30s | ok` and compares the states after each word.
fn check(story: &str, want: &str) {
    let start = Instant::now();
    let mut now = start;
    let mut breaker = Breaker::new(
        BreakerSettings {
            jitter: 0.0,
            ..BreakerSettings::default()
        },
        7,
    );
    let mut got = Vec::new();
    for word in story.split_whitespace().filter(|word| *word != "|") {
        if let Some(seconds) = word.strip_prefix('+') {
            now += Duration::from_secs(seconds.trim_end_matches('s').parse().expect("seconds"));
            continue;
        }
        let ended = match word {
            "ok" => Ended::Ok,
            "slow" => Ended::Slow,
            "fail" => Ended::Failed,
            "timeout" => Ended::TimedOut,
            "crash" => Ended::Crashed,
            "cancel" => Ended::Void,
            other => panic!("unknown word {other}"),
        };
        match breaker.admit(now) {
            Ok((permit, _)) => {
                breaker.record(permit, ended, now);
                got.push(match breaker.state() {
                    BreakerState::Closed => "closed",
                    BreakerState::Open => "open",
                    BreakerState::HalfOpen => "half",
                });
            }
            Err(_) => got.push("refused"),
        }
    }
    assert_eq!(got.join(" "), want, "{story}");
}

#[test]
fn it_opens_by_ratio_only_after_enough_calls() {
    check("fail ok fail ok fail", "closed closed closed closed open");
    check("fail fail fail fail", "closed closed closed closed");
    check(
        "ok ok ok ok ok fail fail fail fail fail",
        "closed closed closed closed closed closed closed closed closed open",
    );
    check(
        "fail fail +601s fail fail fail fail",
        "closed closed closed closed closed closed",
    );
}

#[test]
fn timeouts_and_crashes_in_a_row_open_it_early() {
    check("timeout timeout timeout", "closed closed open");
    check("timeout timeout ok timeout", "closed closed closed closed");
    check("crash crash", "closed open");
    check("crash ok crash", "closed closed closed");
}

#[test]
fn slow_answers_open_it_too() {
    check(
        "slow slow slow slow slow",
        "closed closed closed closed open",
    );
    check("slow slow ok slow slow", "closed closed closed closed open");
    check("slow ok ok slow slow", "closed closed closed closed closed");
}

#[test]
fn it_probes_and_closes_after_two_successes() {
    check(
        "crash crash ok | +30s ok ok ok",
        "closed open refused half closed closed",
    );
    check("crash crash | +29s ok | +1s ok", "closed open refused half");
}

#[test]
fn a_failing_probe_reopens_for_twice_as_long() {
    check(
        "crash crash | +30s fail | +59s ok | +1s ok",
        "closed open open refused half",
    );
}

#[test]
fn a_cancelled_probe_gives_its_permit_back() {
    check(
        "crash crash | +30s cancel ok ok",
        "closed open half half closed",
    );
}

#[test]
fn of_ten_callers_after_the_cool_down_exactly_one_probes() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerSettings::default(), 1);
    for _ in 0..2 {
        let (permit, _) = breaker.admit(now).expect("closed");
        breaker.record(permit, Ended::Crashed, now);
    }
    let later = now + Duration::from_secs(60);
    let admitted = (0..10).filter(|_| breaker.admit(later).is_ok()).count();
    assert_eq!(admitted, 1);
}

#[test]
fn the_open_time_doubles_within_its_jitter_and_cap() {
    for seed in 0..200 {
        let settings = BreakerSettings::default();
        let mut now = Instant::now();
        let mut breaker = Breaker::new(settings.clone(), seed);
        for _ in 0..2 {
            let (permit, _) = breaker.admit(now).expect("closed");
            breaker.record(permit, Ended::Crashed, now);
        }
        for k in 0..12u32 {
            let open = breaker.open_until().expect("open") - now;
            let plain = settings
                .open_for
                .saturating_mul(1 << k)
                .min(settings.open_cap);
            assert!(
                open >= plain.mul_f64(0.8) && open <= plain.mul_f64(1.2),
                "{k}: {open:?}"
            );
            assert!(open <= settings.open_cap);
            now += open;
            let (permit, _) = breaker.admit(now).expect("a probe");
            breaker.record(permit, Ended::Failed, now);
        }
    }
}

#[test]
fn hands_override_and_expire() {
    let now = Instant::now();
    let mut breaker = Breaker::new(BreakerSettings::default(), 1);
    breaker.set_by_hand(Some(Override::ForcedOpen(now + Duration::from_secs(600))));
    assert!(breaker.admit(now).is_err());
    assert!(breaker.admit(now + Duration::from_secs(600)).is_ok());
    assert_eq!(breaker.by_hand(), None);

    breaker.set_by_hand(Some(Override::Ignored(now + Duration::from_secs(900))));
    for _ in 0..50 {
        let (permit, _) = breaker.admit(now).expect("ignored");
        breaker.record(permit, Ended::Crashed, now);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// The slow, obvious breaker: keeps every outcome and recomputes everything from the list.
struct Oracle {
    all: Vec<(u64, Ended)>,
    state: BreakerState,
    until: u64,
    reopened: u32,
    closed_at: Option<u64>,
    probing: bool,
    probes_ok: u32,
}

impl Oracle {
    fn new() -> Self {
        Self {
            all: Vec::new(),
            state: BreakerState::Closed,
            until: 0,
            reopened: 0,
            closed_at: None,
            probing: false,
            probes_ok: 0,
        }
    }

    fn admit(&mut self, now: u64) -> bool {
        if self.state == BreakerState::Open && now >= self.until {
            self.state = BreakerState::HalfOpen;
            self.probes_ok = 0;
            self.probing = false;
        }
        match self.state {
            BreakerState::Closed => true,
            BreakerState::Open => false,
            BreakerState::HalfOpen => !std::mem::replace(&mut self.probing, true),
        }
    }

    fn open(&mut self, now: u64) {
        if self.state == BreakerState::Closed && self.closed_at.is_some_and(|at| now - at >= 600) {
            self.reopened = 0;
        }
        self.until = now + (30u64 << self.reopened.min(16)).min(900);
        self.reopened += 1;
        self.state = BreakerState::Open;
        self.all.clear();
    }

    fn record(&mut self, ended: Ended, now: u64) {
        if self.state == BreakerState::HalfOpen {
            self.probing = false;
            match ended {
                Ended::Void => {}
                Ended::Ok | Ended::Slow => {
                    self.probes_ok += 1;
                    if self.probes_ok == 2 {
                        self.state = BreakerState::Closed;
                        self.closed_at = Some(now);
                        self.all.clear();
                    }
                }
                _ => self.open(now),
            }
            return;
        }
        if ended == Ended::Void {
            return;
        }
        self.all.push((now, ended));
        let tail = |kind: Ended, n: usize| {
            self.all.len() >= n && self.all.iter().rev().take(n).all(|(_, e)| *e == kind)
        };
        let window: Vec<_> = self
            .all
            .iter()
            .rev()
            .take(20)
            .filter(|(at, _)| now - at <= 600)
            .collect();
        let share = |test: fn(Ended) -> bool| {
            window.iter().filter(|(_, e)| test(*e)).count() as f64 / window.len() as f64
        };
        let by_ratio =
            window.len() >= 5 && (share(is_failure) >= 0.5 || share(|e| e == Ended::Slow) >= 0.8);
        if tail(Ended::TimedOut, 3) || tail(Ended::Crashed, 2) || by_ratio {
            self.open(now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn it_agrees_with_the_oracle(steps in prop::collection::vec((0u8..6, 0u64..40), 1..120)) {
        let start = Instant::now();
        let mut at = 0;
        let mut breaker = Breaker::new(BreakerSettings { jitter: 0.0, ..BreakerSettings::default() }, 3);
        let mut oracle = Oracle::new();
        for (what, wait) in steps {
            // Mostly short waits, now and then a long one.
            at += if wait > 36 { wait * 20 } else { wait };
            let now = start + Duration::from_secs(at);
            let ended = [Ended::Ok, Ended::Slow, Ended::Failed, Ended::TimedOut, Ended::Crashed, Ended::Void][usize::from(what)];
            let admitted = breaker.admit(now);
            prop_assert_eq!(admitted.is_ok(), oracle.admit(at));
            if let Ok((permit, _)) = admitted {
                breaker.record(permit, ended, now);
                oracle.record(ended, at);
            }
            prop_assert_eq!(breaker.state(), oracle.state);
        }
    }
}
