//! Scripts as tables, and a naive oracle that keeps the whole history.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn steady() -> RestartPolicy {
    RestartPolicy {
        jitter: 0.0,
        ..RestartPolicy::default()
    }
}

/// Runs words such as `want`, `die`, `stop`, `clear` and `+3s`, and returns the answers.
fn check(script: &str, want: &str) {
    let start = Instant::now();
    let (mut now, mut restarts) = (start, Restarts::default());
    let mut answers = Vec::new();
    for word in script.split_whitespace() {
        let event = match word {
            "want" => Event::Wanted,
            "die" => Event::Died(0.5),
            "stop" => Event::Stopped,
            "clear" => Event::Cleared,
            span => {
                let seconds = span.trim_matches(['+', 's']).parse::<u32>();
                now += SECOND * seconds.expect("a span such as +3s");
                continue;
            }
        };
        answers.push(match restarts.on(&steady(), now, event) {
            Decision::Start => "start".to_owned(),
            Decision::Wait(at) => format!("wait{}", (at - now).as_secs()),
            Decision::Quarantined => "quarantined".to_owned(),
            Decision::Idle => "idle".to_owned(),
        });
    }
    assert_eq!(answers.join(" "), want, "{script}");
}

#[test]
fn restarts_follow_the_rule() {
    for (script, want) in [
        ("want", "start"),
        ("want stop want", "start idle start"),
        // The first restart is immediate, then 1, 2, 4 seconds.
        (
            "want die want die +1s want die +2s want die",
            "start wait0 start wait1 start wait2 start wait4",
        ),
        ("want die want die want", "start wait0 start wait1 wait1"),
        // A healthy life makes the next restart immediate again.
        (
            "want die want die +1s want +60s die want",
            "start wait0 start wait1 start wait0 start",
        ),
        // Five restarts in five minutes; the sixth is refused until cleared.
        (
            "want die want die +1s want die +2s want die +4s want die +8s want die +900s want clear want",
            "start wait0 start wait1 start wait2 start wait4 start wait8 start quarantined \
             quarantined idle start",
        ),
        // Spread over more than the window they are no crash loop.
        (
            "want die want +70s die want +70s die want +70s die want +70s die want +70s die want",
            "start wait0 start wait0 start wait0 start wait0 start wait0 start wait0 start",
        ),
    ] {
        check(script, want);
    }
}

#[test]
fn jitter_stays_within_its_share_and_waits_are_capped() {
    let policy = RestartPolicy::default();
    for n_short in [2, 3, 7, 8, 9, 40, u32::MAX] {
        let middle = wait(&policy, n_short, 0.5);
        assert!(middle <= policy.longest_wait);
        assert_eq!(wait(&policy, n_short, 0.0), middle.mul_f64(0.8));
        assert_eq!(wait(&policy, n_short, 1.0), middle.mul_f64(1.2));
    }
    assert_eq!(wait(&policy, 8, 0.5), Duration::from_secs(60));
}

/// Everything that ever happened, looked at from the start each time.
#[derive(Default)]
struct History(Vec<(Instant, Event)>);

impl History {
    fn decide(&mut self, policy: &RestartPolicy, now: Instant, event: Event) -> Decision {
        self.0.push((now, event));
        let mut starts: Vec<Instant> = Vec::new();
        let mut restarts: Vec<Instant> = Vec::new();
        let mut short = 0;
        let mut due: Option<Instant> = None;
        let mut running: Option<Instant> = None;
        let mut banned = false;
        let mut last = Decision::Idle;
        for (at, event) in &self.0 {
            last = match event {
                Event::Wanted if banned => Decision::Quarantined,
                Event::Wanted => match due {
                    Some(due_at) if due_at > *at => Decision::Wait(due_at),
                    _ => {
                        if due.take().is_some() {
                            restarts.push(*at);
                        }
                        starts.push(*at);
                        running = Some(*at);
                        Decision::Start
                    }
                },
                Event::Stopped => {
                    (running, short, due) = (None, 0, None);
                    Decision::Idle
                }
                Event::Cleared => {
                    restarts.clear();
                    (banned, short, due) = (false, 0, None);
                    Decision::Idle
                }
                Event::Died(random) => {
                    let healthy = running.is_some_and(|since| *at - since >= policy.healthy_after);
                    running = None;
                    short = if healthy { 1 } else { short + 1 };
                    let mut seconds = 0.0;
                    if short >= 2 {
                        seconds = policy.first_wait.as_secs_f64();
                        for _ in 2..short {
                            seconds = (seconds * 2.0).min(policy.longest_wait.as_secs_f64());
                        }
                    }
                    let span = Duration::from_secs_f64(seconds);
                    let due_at = *at + span.mul_f64(1.0 + policy.jitter * (2.0 * random - 1.0));
                    due = Some(due_at);
                    let n_recent = restarts
                        .iter()
                        .filter(|restart| due_at - **restart < policy.window)
                        .count();
                    banned |= n_recent >= policy.budget;
                    if banned {
                        Decision::Quarantined
                    } else {
                        Decision::Wait(due_at)
                    }
                }
            };
        }
        last
    }
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let event = prop_oneof![
        6 => Just(Event::Wanted),
        6 => (0.0..=1.0).prop_map(Event::Died),
        1 => Just(Event::Stopped),
        1 => Just(Event::Cleared),
    ];
    (prop_oneof![3 => 0u64..5_000, 1 => 0u64..400_000], event)
}

proptest! {
    #[test]
    fn the_rule_agrees_with_a_naive_reading(events in prop::collection::vec(event(), 1..60)) {
        let policy = RestartPolicy::default();
        let (mut restarts, mut history) = (Restarts::default(), History::default());
        let mut now = Instant::now();
        for (step_ms, event) in events {
            now += Duration::from_millis(step_ms);
            let got = restarts.on(&policy, now, event);
            let want = history.decide(&policy, now, event);
            match (got, want) {
                // Doubling in whole and in floating numbers may differ by a nanosecond.
                (Decision::Wait(a), Decision::Wait(b)) => {
                    let apart = a.max(b) - a.min(b);
                    prop_assert!(apart < Duration::from_micros(1), "{a:?} {b:?}");
                }
                (got, want) => prop_assert_eq!(got, want),
            }
            prop_assert!(restarts.recent.len() <= policy.budget);
        }
    }
}
