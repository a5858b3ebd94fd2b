//! Faults: what is done to nodes, and when it is undone. The numbers CPnn are those of the catalogue of
//! crash points in the design of durable work.

use std::time::{Duration, Instant};

use anyhow::Result;
use kodex_chaos::seed::Seed;
use rustix::process::{Resource, Signal};

use super::{door::Way, node::Node, world::World};

/// What can be done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// `kill -9`, and a new start soon after: every crash point of a process, as the moment falls
    /// (CP01 to CP17).
    Kill,
    /// Stopped for longer than a lease and let go on: what it says then comes from a zombie (CP27).
    Freeze,
    /// Asked to end, drained, started again (CP19).
    Drain,
    /// Asked to end twice: what runs is given back at once (CP19).
    Hurry,
    /// The wall clock jumps by an hour, forth or back, or creeps away for a while (CP26).
    Clock,
    /// No file may grow: a full disk for this node (CP23).
    Disk,
    /// No more file descriptors: nothing can be opened, connected or started (CP30).
    Files,
    /// Its connections to the server are cut.
    Cut,
    /// The server commits, and the connection is gone before the node hears of it (CP28).
    Swallow,
    /// Bytes stop going one way for longer than a lease, and arrive then (CP29).
    Stall,
    /// The server cannot be reached for longer than a lease (CP29).
    Gone,
}

impl Fault {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Kill, "kill"),
        (Self::Freeze, "freeze"),
        (Self::Drain, "drain"),
        (Self::Hurry, "hurry"),
        (Self::Clock, "clock"),
        (Self::Disk, "disk"),
        (Self::Files, "files"),
        (Self::Cut, "cut"),
        (Self::Swallow, "swallow"),
        (Self::Stall, "stall"),
        (Self::Gone, "gone"),
    ];

    /// Whether a process that only just starts may end of it.
    fn is_for_the_grown(self) -> bool {
        matches!(self, Self::Disk | Self::Files)
    }

    /// Why it cannot be made of such nodes.
    fn problem(self, node: &Node) -> Option<&'static str> {
        match self {
            Self::Clock if node.clock.is_none() => {
                Some("libfaketime is not installed; `cargo xtask setup` does that")
            }
            Self::Disk if node.door.is_some() => Some("the store is on a server"),
            Self::Cut | Self::Swallow | Self::Stall | Self::Gone if node.door.is_none() => {
                Some("the store is a file")
            }
            _ => None,
        }
    }
}

/// What is to be done to a node later.
#[derive(Clone, Copy)]
enum Later {
    Start,
    GoOn,
    /// It was asked to end and should have by then.
    Ended,
    /// The clock goes on creeping, so many times.
    Creep(u32, i64),
    Unlimited,
    Reachable,
    ClockRight,
}

/// The nodes, and what was done to them.
pub(super) struct Chaos {
    pub(super) nodes: Vec<Node>,
    seed: Seed,
    later: Vec<(Instant, usize, Later)>,
    next_at: Instant,
    faults: Vec<(Fault, &'static str)>,
    /// How often each was made.
    pub(super) made: Vec<(&'static str, u32)>,
    /// Ends that took longer than they may.
    pub(super) n_late_ends: u32,
    /// Ends that nobody asked for.
    pub(super) unasked: Vec<String>,
}

/// How long an end may take after it was asked for: the grace, what is given back, a busy machine.
const END: Duration = Duration::from_secs(15);
/// A lease and one sweep.
const LEASE_MS: u64 = 1_700;
const HOUR_MS: i64 = 3_600_000;
/// How long a node needs to be at work.
const GROWN: Duration = Duration::from_millis(1_500);
/// How often a clock creeps.
const CREEP: Duration = Duration::from_millis(100);

impl Chaos {
    /// Says which faults there will not be.
    pub(super) fn new(nodes: Vec<Node>, seed: Seed, wanted: &[String]) -> Self {
        let mut faults = Vec::new();
        for (fault, name) in Fault::ALL {
            if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
                continue;
            }
            match nodes.iter().find_map(|node| fault.problem(node)) {
                Some(why) => println!("no {name}: {why}"),
                None => faults.push((fault, name)),
            }
        }
        Self {
            nodes,
            seed,
            later: Vec::new(),
            next_at: Instant::now(),
            made: faults.iter().map(|(_, name)| (*name, 0)).collect(),
            faults,
            n_late_ends: 0,
            unasked: Vec::new(),
        }
    }

    /// Does what is due: undoes faults, and makes the next one.
    pub(super) fn step(&mut self, world: &World) -> Result<()> {
        self.undo(world, Instant::now())?;
        if Instant::now() >= self.next_at {
            self.next_at = Instant::now() + Duration::from_millis(self.seed.between(150, 700));
            // Drawn in any case, so that a node which is away does not move all later choices.
            let at = usize::try_from(self.seed.below(self.nodes.len() as u64)).unwrap_or(0);
            let fault = self.seed.pick(&self.faults).copied();
            let ms = self.seed.between(0, 1_000);
            if let Some((fault, name)) = fault
                && self.later.iter().all(|(_, busy, _)| *busy != at)
                && !(fault.is_for_the_grown() && self.nodes[at].age() < GROWN)
            {
                self.make(at, fault, ms)?;
                for (known, n) in &mut self.made {
                    *n += u32::from(*known == name);
                }
            }
        }
        Ok(())
    }

    fn make(&mut self, at: usize, fault: Fault, ms: u64) -> Result<()> {
        let after = |ms| Instant::now() + Duration::from_millis(ms);
        let longer_than_a_lease = after(LEASE_MS + 100 + ms * 2);
        let node = &mut self.nodes[at];
        let later = match fault {
            Fault::Kill => {
                node.kill();
                (after(ms), Later::Start)
            }
            Fault::Freeze => {
                node.signal(Signal::STOP);
                (longer_than_a_lease, Later::GoOn)
            }
            Fault::Drain | Fault::Hurry => {
                node.signal(Signal::TERM);
                if fault == Fault::Hurry {
                    node.signal(Signal::TERM);
                }
                (Instant::now() + END, Later::Ended)
            }
            Fault::Clock => clock(node, ms)?,
            Fault::Disk => {
                node.limit(Resource::Fsize, 16 << 10);
                (after(300 + ms), Later::Unlimited)
            }
            Fault::Files => {
                node.limit(Resource::Nofile, 8);
                (after(300 + ms), Later::Unlimited)
            }
            Fault::Cut | Fault::Swallow | Fault::Stall | Fault::Gone => {
                let Some(door) = &node.door else {
                    return Ok(());
                };
                match fault {
                    Fault::Cut => door.cut(),
                    Fault::Swallow => door.swallow(),
                    Fault::Stall => door.stall(if ms.is_multiple_of(2) {
                        Way::ToServer
                    } else {
                        Way::ToNode
                    }),
                    _ => door.shut(),
                }
                let until = match fault {
                    Fault::Cut | Fault::Swallow => after(ms),
                    _ => longer_than_a_lease,
                };
                (until, Later::Reachable)
            }
        };
        self.later.push((later.0, at, later.1));
        Ok(())
    }

    fn undo(&mut self, world: &World, now: Instant) -> Result<()> {
        for (when, at, what) in std::mem::take(&mut self.later) {
            let has_ended = matches!(what, Later::Ended) && !self.nodes[at].is_running();
            if when > now && !has_ended {
                self.later.push((when, at, what));
            } else if let Later::Creep(n @ 1.., step) = what {
                if let Some(clock) = &mut self.nodes[at].clock {
                    clock.set(clock.offset_ms() + step)?;
                }
                self.later
                    .push((now + CREEP, at, Later::Creep(n - 1, step)));
            } else {
                self.mend(world, at, what)?;
            }
        }
        Ok(())
    }

    fn mend(&mut self, world: &World, at: usize, what: Later) -> Result<()> {
        let node = &mut self.nodes[at];
        match what {
            Later::Start => node.start(world)?,
            Later::GoOn => node.signal(Signal::CONT),
            Later::Ended => {
                if !node.end(Duration::ZERO) {
                    self.n_late_ends += 1;
                }
                node.start(world)?;
            }
            Later::Unlimited => node.unlimit(),
            Later::Reachable => node.door.iter().for_each(|door| door.heal()),
            Later::Creep(..) | Later::ClockRight => {
                if let Some(clock) = &mut node.clock {
                    clock.set(0)?;
                }
            }
        }
        self.revive(world, at)
    }

    /// Makes everything whole again.
    pub(super) fn heal(&mut self, world: &World) -> Result<()> {
        for (_, at, what) in std::mem::take(&mut self.later) {
            if matches!(what, Later::Ended) {
                self.nodes[at].end(END);
            }
            self.mend(world, at, what)?;
        }
        Ok(())
    }

    /// Starts what ended although nobody asked for that.
    pub(super) fn revive_all(&mut self, world: &World) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|at| self.revive(world, at))
    }

    fn revive(&mut self, world: &World, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        if !node.is_running() {
            self.unasked.push(node.last_words());
            node.start(world)?;
        }
        Ok(())
    }

    /// Moves all clocks to one time, this far from the machine's.
    pub(super) fn set_clocks(&mut self, offset_ms: i64) -> Result<()> {
        let mut clocks = self.nodes.iter_mut().filter_map(|node| node.clock.as_mut());
        clocks.try_for_each(|clock| clock.set(offset_ms))
    }
}

fn clock(node: &mut Node, ms: u64) -> Result<(Instant, Later)> {
    let Some(clock) = &mut node.clock else {
        return Ok((Instant::now(), Later::ClockRight));
    };
    let until = Instant::now() + Duration::from_millis(500 + ms);
    Ok(match ms % 4 {
        0 => {
            clock.set(HOUR_MS)?;
            (until, Later::ClockRight)
        }
        1 => {
            clock.set(-HOUR_MS)?;
            (until, Later::ClockRight)
        }
        2 => (Instant::now(), Later::Creep(20, 60)),
        _ => (Instant::now(), Later::Creep(20, -60)),
    })
}
