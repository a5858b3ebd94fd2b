//! From local times to moments, over every change of the clocks.
//!
//! Between two changes the local time is the moment plus a constant, so a rule needs only to be asked
//! from the beginning of each such stretch. A change forward leaves local times out, a change back shows
//! some twice; what happens then is said once, here, for rules of the calendar and cron alike.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::Offset};

use super::zone::Zone;

/// What happens at a local time that the clocks jump over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Gap {
    /// It does not run.
    #[default]
    Skip,
    /// It runs at the first moment after the jump, at most once however many times were left out.
    Shift,
}

impl Gap {
    /// The choices and their words.
    pub const ALL: &'static [(&'static str, Self)] =
        &[("skip", Self::Skip), ("shift", Self::Shift)];
}

/// What happens at local times that the clocks show twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// The first time counts.
    First,
    /// Both do: the rule follows the clock through the day, such as every half hour.
    Both,
}

/// An occurrence: when it is, and which local time of the rule it stands for. The two differ where a
/// time was shifted out of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) at: Timestamp,
    pub(super) local: DateTime,
}

/// How a rule behaves where the clocks change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changes {
    pub(super) gap: Gap,
    pub(super) fold: Fold,
}

/// A rule of local times: the first one that is not before a given one, at whole seconds.
pub(super) type Local<'r> = &'r dyn Fn(DateTime) -> Option<DateTime>;

/// Twice as far as any zone ever moved its clocks.
const FAR: SignedDuration = SignedDuration::from_hours(52);

/// The first occurrence after a moment.
pub(super) fn next(
    rule: Local<'_>,
    zone: &Zone,
    changes: Changes,
    after: Timestamp,
) -> Option<Slot> {
    let mut stretch = Stretch::around(zone, after);
    let mut from = stretch.local(next_second(after)?);
    if let (Fold::First, Some(shown)) = (changes.fold, stretch.shown) {
        from = from.max(shown);
    }
    loop {
        let local = rule(from)?;
        let at = stretch.offset.to_timestamp(local).ok()?;
        let Some(end) = stretch.end.filter(|end| *end <= at) else {
            return Some(Slot { at, local });
        };
        // Nothing until `local`: the changes long before it need not be looked at one by one.
        let far = at.checked_sub(FAR).ok()?;
        if far > end {
            stretch = Stretch::around(zone, far);
            from = stretch.local(far);
            continue;
        }
        let shown = stretch.local(end);
        stretch = Stretch::around(zone, end);
        let begins = stretch.local(end);
        let is_left_out = (shown..begins).contains(&local);
        if is_left_out && changes.gap == Gap::Shift && changes.fold == Fold::First {
            return Some(Slot { at: end, local });
        }
        from = match changes.fold {
            Fold::First => begins.max(shown),
            Fold::Both => begins,
        };
    }
}

/// How many local times of a rule there are from one on, without another.
pub(super) type CountLocal<'r> = &'r dyn Fn(DateTime, DateTime) -> u64;

/// How many occurrences [`next`] would find one after the other, after one moment and not after another.
pub(super) fn count(
    rule: Local<'_>,
    count_local: CountLocal<'_>,
    zone: &Zone,
    changes: Changes,
    after: Timestamp,
    until: Timestamp,
) -> u64 {
    let (Some(begin), Some(beyond)) = (next_second(after), next_second(until)) else {
        return 0;
    };
    let mut stretch = Stretch::around(zone, after);
    let mut from = stretch.local(begin);
    if let (Fold::First, Some(shown)) = (changes.fold, stretch.shown) {
        from = from.max(shown);
    }
    let mut n = 0_u64;
    loop {
        let end = stretch.end.filter(|end| *end < beyond);
        let to = stretch.local(end.unwrap_or(beyond));
        if from < to {
            n = n.saturating_add(count_local(from, to));
        }
        let Some(end) = end else {
            return n;
        };
        stretch = Stretch::around(zone, end);
        let begins = stretch.local(end);
        let is_shifted = changes.gap == Gap::Shift
            && changes.fold == Fold::First
            && rule(from.max(to)).is_some_and(|local| local < begins);
        from = match changes.fold {
            // One that was shifted to the end of a gap stands for one that is there anyway.
            Fold::First if is_shifted => {
                n = n.saturating_add(1);
                begins.saturating_add(SignedDuration::from_secs(1))
            }
            Fold::First => begins.max(to),
            Fold::Both => begins,
        };
    }
}

/// A span of time in which the offset from UTC stays the same.
struct Stretch {
    offset: Offset,
    /// The local time at which the stretch before it ended, if there was one.
    shown: Option<DateTime>,
    end: Option<Timestamp>,
}

impl Stretch {
    fn around(zone: &Zone, at: Timestamp) -> Self {
        let tick = SignedDuration::from_nanos(1);
        // `preceding` leaves its own moment out, but at a change the new stretch has begun.
        let begin = at.checked_add(tick).ok().and_then(|at| {
            let mut changes = zone.tz.preceding(at);
            changes.next().map(|change| change.timestamp())
        });
        let shown = begin.and_then(|begin| {
            let before = begin.checked_sub(tick).ok()?;
            Some(zone.tz.to_offset(before).to_datetime(begin))
        });
        let mut following = zone.tz.following(at);
        Self {
            offset: zone.tz.to_offset(at),
            shown,
            end: following.next().map(|change| change.timestamp()),
        }
    }

    fn local(&self, at: Timestamp) -> DateTime {
        self.offset.to_datetime(at)
    }
}

/// The first whole second after a moment.
fn next_second(at: Timestamp) -> Option<Timestamp> {
    let second = at.as_millisecond().div_euclid(1_000).checked_add(1)?;
    Timestamp::from_second(second).ok()
}
