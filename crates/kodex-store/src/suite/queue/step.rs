//! What may happen to a store of jobs, one thing at a time, and by chance.

use kodex_plugin::PluginName;

use super::board::{Board, LEASE_MS, QUEUE, RULES, WHY};
use crate::{
    queue::{Claim, Effect, End, Ending, JobLease, LogLine, LogStream, NewJob, Priority, Unique},
    suite::{
        given::{raw, soon},
        queue::model::{Answer, seen},
    },
};

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Add(Vec<Wished>),
    Claim {
        holder: &'static str,
        queue: &'static str,
        n: usize,
        lease_ms: u64,
        caps: Vec<(PluginName, usize)>,
        plugins: Option<Vec<PluginName>>,
    },
    Renew {
        lease: Which,
        lease_ms: u64,
    },
    End(Vec<(Which, How)>),
    Effect {
        lease: Which,
        key: &'static str,
        value: u8,
    },
    Log {
        lease: Which,
        text: String,
    },
    Cancel(String),
    Revive(String),
    Recover,
    Prune {
        ended_before_ms: u64,
    },
    Later(u64),
    Earlier(u64),
}

/// A [`NewJob`] that has its own texts.
#[derive(Debug, Clone)]
pub(super) struct Wished {
    pub(super) id: String,
    pub(super) queue: String,
    pub(super) plugin: PluginName,
    pub(super) lane: Option<String>,
    pub(super) unique_key: Option<String>,
    pub(super) unique: Unique,
    pub(super) priority: Priority,
    pub(super) payload: u8,
    pub(super) delay_ms: u64,
    pub(super) due_at_ms: Option<u64>,
    pub(super) max_age_ms: Option<u64>,
    pub(super) max_attempts: u32,
}

/// An [`Ending`] that has its own numbers.
#[derive(Debug, Clone)]
pub(super) enum How {
    Complete(Option<u8>),
    Fail,
    Bury,
    Block,
    Cancelled,
    Retry(u64),
    GoOn {
        checkpoint: Option<u8>,
        after_ms: u64,
    },
    Release(u64),
}

/// One of the leases that were ever given and heard of: so many before the last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which(pub(super) usize);

impl Which {
    pub(super) fn of(self, leases: &[JobLease]) -> Option<&JobLease> {
        let newest = leases.len().checked_sub(1)?;
        Some(&leases[newest - self.0 % leases.len()])
    }
}

impl Step {
    /// Lets it happen to the store.
    pub(super) async fn ask(&self, board: &Board, leases: &[JobLease]) -> Answer {
        let queue = board.queue();
        match self {
            Self::Add(jobs) => {
                let payloads: Vec<_> = jobs
                    .iter()
                    .map(|job| raw(&job.payload.to_string()))
                    .collect();
                let jobs: Vec<_> = jobs
                    .iter()
                    .zip(&payloads)
                    .map(|(job, payload)| job.new_job(payload))
                    .collect();
                Answer::Added(board.add(&jobs).await)
            }
            Self::Claim {
                holder,
                queue,
                n,
                lease_ms,
                caps,
                plugins,
            } => {
                let claim = Claim {
                    queue,
                    holder,
                    n: *n,
                    lease_ms: *lease_ms,
                    caps,
                    plugins: plugins.as_deref(),
                };
                let claimed = board.claim_as(&claim).await;
                let pair = |claimed: crate::queue::Claimed| (claimed.lease, seen(&claimed.job));
                Answer::Claimed(claimed.into_iter().map(pair).collect())
            }
            Self::Renew { lease, lease_ms } => {
                let leases: Vec<_> = lease.of(leases).cloned().into_iter().collect();
                let renewed = soon(queue.renew(&leases, *lease_ms)).await;
                Answer::Renewed(renewed.expect("is looked at"))
            }
            Self::End(ends) => Answer::Ended(end(board, ends, leases).await),
            Self::Effect { lease, key, value } => {
                let Some(lease) = lease.of(leases) else {
                    return Answer::Effect(String::new());
                };
                let value = raw(&value.to_string());
                let effect = soon(queue.effect(lease, key, &value)).await;
                Answer::Effect(match effect.expect("is looked at") {
                    Effect::First => "first".to_owned(),
                    Effect::Again(first) => first.get().to_owned(),
                    Effect::Lost => "lost".to_owned(),
                })
            }
            Self::Log { lease, text } => {
                if let Some(lease) = lease.of(leases) {
                    let line = LogLine {
                        stream: LogStream::Out,
                        text: text.clone(),
                    };
                    soon(queue.log(lease, &[line])).await.expect("is kept");
                }
                Answer::Nothing
            }
            Self::Cancel(id) => Answer::Cancelled(soon(queue.cancel(id)).await.expect("is asked")),
            Self::Revive(id) => Answer::Revived(soon(queue.revive(id)).await.expect("is asked")),
            Self::Recover => Answer::Recovered(board.recover().await),
            Self::Prune { ended_before_ms } => {
                let n_gone = soon(queue.prune(*ended_before_ms, 100)).await;
                Answer::Pruned(n_gone.expect("removes"))
            }
            Self::Later(ms) => {
                board.clock.advance_ms(*ms);
                Answer::Nothing
            }
            Self::Earlier(ms) => {
                board.clock.set_back_ms(*ms);
                Answer::Nothing
            }
        }
    }
}

async fn end(board: &Board, ends: &[(Which, How)], leases: &[JobLease]) -> Vec<bool> {
    let texts: Vec<_> = ends
        .iter()
        .map(|(_, how)| match how {
            How::Complete(Some(number))
            | How::GoOn {
                checkpoint: Some(number),
                ..
            } => Some(raw(&number.to_string())),
            _ => None,
        })
        .collect();
    let ends: Vec<_> = ends
        .iter()
        .zip(&texts)
        .filter_map(|((lease, how), text)| {
            let text = text.as_deref();
            let how = match *how {
                How::Complete(_) => Ending::Complete { result: text },
                How::Fail => Ending::Fail(WHY),
                How::Bury => Ending::Bury(WHY),
                How::Block => Ending::Block(WHY),
                How::Cancelled => Ending::Cancelled(WHY),
                How::Retry(after_ms) => super::board::retry(after_ms),
                How::GoOn { after_ms, .. } => Ending::GoOn {
                    checkpoint: text,
                    after_ms,
                },
                How::Release(after_ms) => Ending::Release { after_ms },
            };
            Some(End {
                lease: lease.of(leases)?,
                how,
            })
        })
        .collect();
    board.end_all(&ends).await
}

impl Wished {
    fn new_job<'a>(&'a self, payload: &'a serde_json::value::RawValue) -> NewJob<'a> {
        NewJob {
            lane: self.lane.as_deref(),
            unique_key: self.unique_key.as_deref(),
            unique: self.unique,
            priority: self.priority,
            delay_ms: self.delay_ms,
            due_at_ms: self.due_at_ms,
            max_age_ms: self.max_age_ms,
            max_attempts: self.max_attempts,
            ..NewJob::new(&self.id, &self.queue, &self.plugin, "name", payload)
        }
    }
}

/// Numbers that look like chance and are the same for the same seed.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("is small")
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn often(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn wait_ms(&mut self) -> u64 {
        self.one_of(&[0, 0, 1, 500, LEASE_MS])
    }

    /// Mostly a lease that was given lately.
    fn lease(&mut self) -> Which {
        let span = self.one_of(&[1, 1, 3, 3, 40]);
        Which(self.below(span))
    }

    fn id(&mut self) -> String {
        format!("job {}", self.below(8))
    }

    fn how(&mut self) -> How {
        let after_ms = self.wait_ms();
        let number = self.often(50).then_some(7);
        match self.below(9) {
            0 | 1 => How::Complete(number),
            2 => How::Fail,
            3 => How::Bury,
            4 => How::Block,
            5 => How::Cancelled,
            6 => How::Retry(after_ms),
            7 => How::GoOn {
                checkpoint: number,
                after_ms,
            },
            _ => How::Release(after_ms),
        }
    }

    fn wished(&mut self, plugins: &[PluginName; 2], now_ms: u64) -> Wished {
        let lane = self.often(40).then(|| format!("lane {}", self.below(2)));
        let key = self.often(40).then(|| format!("key {}", self.below(2)));
        Wished {
            id: self.id(),
            queue: self.one_of(&[QUEUE, QUEUE, QUEUE, "elsewhere"]).to_owned(),
            plugin: self.one_of(plugins),
            lane,
            unique_key: key,
            unique: self.one_of(&[
                Unique::Keep,
                Unique::Replace,
                Unique::Debounce { max_wait_ms: 600 },
            ]),
            priority: self.one_of(&Priority::ALL),
            payload: u8::try_from(self.below(3)).expect("is small"),
            delay_ms: self.wait_ms(),
            due_at_ms: self.often(10).then_some(now_ms + 100),
            max_age_ms: self.often(30).then(|| self.one_of(&[1, 2_000, LEASE_MS])),
            max_attempts: self.one_of(&[1, 2, 3]),
        }
    }

    /// Something that may happen next.
    pub(super) fn step(&mut self, plugins: &[PluginName; 2], now_ms: u64) -> Step {
        let lease_ms = self.one_of(&[LEASE_MS, LEASE_MS, 500]);
        match self.below(100) {
            0..20 => {
                let n = self.one_of(&[1, 1, 1, 3]);
                Step::Add((0..n).map(|_| self.wished(plugins, now_ms)).collect())
            }
            20..40 => Step::Claim {
                holder: self.one_of(&["one", "two"]),
                queue: self.one_of(&[QUEUE, QUEUE, QUEUE, "elsewhere"]),
                n: self.one_of(&[1, 2, 10]),
                lease_ms,
                caps: if self.often(30) {
                    vec![(self.one_of(plugins), self.below(3))]
                } else {
                    Vec::new()
                },
                plugins: self.often(20).then(|| vec![self.one_of(plugins)]),
            },
            40..48 => Step::Renew {
                lease: self.lease(),
                lease_ms,
            },
            48..63 => {
                let n = self.one_of(&[1, 1, 3]);
                Step::End((0..n).map(|_| (self.lease(), self.how())).collect())
            }
            63..67 => Step::Effect {
                lease: self.lease(),
                key: self.one_of(&["one", "two"]),
                value: u8::try_from(self.below(100)).expect("is small"),
            },
            67..70 => Step::Log {
                lease: self.lease(),
                text: format!("line {}", self.below(100)),
            },
            70..75 => Step::Cancel(self.id()),
            75..80 => Step::Revive(self.id()),
            80..87 => Step::Recover,
            87..88 => Step::Prune {
                ended_before_ms: now_ms - 500,
            },
            88..98 => Step::Later(self.one_of(&[1, 500, 1_000, LEASE_MS])),
            _ => Step::Earlier(self.one_of(&[1, 500, LEASE_MS])),
        }
    }

    /// Whether nobody heard the answer of a claim.
    pub(super) fn is_lost(&mut self) -> bool {
        self.often(10)
    }
}

/// What a store is asked to forget all jobs.
pub(super) const WIPE: &str =
    "DELETE FROM jobs; DELETE FROM job_lines; DELETE FROM job_logs; DELETE FROM job_effects";

const _: () = assert!(RULES.limit >= 100);
