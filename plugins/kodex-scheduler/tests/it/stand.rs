//! Where these tests keep the scheduler's tables: in files.

use kodex_testkit::{FakeHost, HandClock};

/// How many random histories are played.
pub(crate) const N_HISTORIES: u32 = 24;

/// What must live as long as the tables.
pub(crate) type Keep = ();

pub(crate) fn host(clock: &HandClock) -> (FakeHost, Keep) {
    (FakeHost::with_clock(clock.clone()), ())
}
