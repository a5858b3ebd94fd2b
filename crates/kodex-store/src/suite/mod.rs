//! The suite that every engine passes: one entry point per area, so that a failure names area and case.
//!
//! ```no_run
//! # async fn stand(_: std::sync::Arc<dyn kodex_plugin::Clock>) -> kodex_store::suite::Stand { std::future::pending().await }
//! # async fn example() {
//! let suite = kodex_store::suite::StoreSuite::new(|clock| Box::pin(stand(clock)));
//! suite.state().await;
//! # }
//! ```
//!
//! Cases share one store per area and differ in their plugins' names, or have one each, where what is tested
//! belongs to the whole store. They use the same SQL on both
//! engines; where an engine must be named, a table says what holds for it.

mod access;
mod bounds;
mod catalog;
mod cursor;
#[cfg(feature = "postgres")]
pub mod database;
mod given;
mod ledger;
mod queue;
mod race;
mod rename;
mod state;
mod transaction;
mod values;

use std::{any::Any, future::Future, pin::Pin, sync::Arc};

use kodex_plugin::Clock;

pub use given::SuiteClock;

use crate::Store;
use given::Given;

/// An empty store, and what must live as long as it does.
pub struct Stand {
    /// The store.
    pub store: Arc<dyn Store>,
    /// A temporary folder or database, for example.
    pub keep: Box<dyn Any + Send>,
    /// Runs SQL on the store's own tables past everything that guards them.
    pub door: BackDoor,
}

/// See [`Stand::door`].
pub type BackDoor = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

type Making = Pin<Box<dyn Future<Output = Stand> + Send>>;

/// The suite over one engine.
pub struct StoreSuite {
    make: Box<dyn Fn(Arc<dyn Clock>) -> Making + Send + Sync>,
}

/// How many stores an area has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stores {
    Shared,
    Each,
}

/// One case of an area.
type Case = (
    &'static str,
    fn(Given) -> Pin<Box<dyn Future<Output = ()> + Send>>,
);

macro_rules! cases {
    ($($case:path),* $(,)?) => {
        &[$((stringify!($case), |given| Box::pin($case(given)))),*]
    };
}
use cases;

macro_rules! areas {
    ($($(#[$doc:meta])* $area:ident = $module:path, $stores:expr;)*) => {
        impl StoreSuite {
            $($(#[$doc])*
            ///
            /// # Panics
            /// When a case does not hold; the message names it.
            pub async fn $area(&self) {
                self.run(stringify!($area), $module, $stores).await;
            })*

            /// The names of all areas.
            pub const AREAS: &'static [&'static str] = &[$(stringify!($area)),*];
        }
    };
}

areas! {
    /// Values, versions, times to live, conditions, lists, locks.
    state = state::CASES, Stores::Shared;
    /// The same from many callers at once.
    races = race::CASES, Stores::Shared;
    /// What each access may do, and what no plugin may do.
    access = access::CASES, Stores::Shared;
    /// What goes in comes out.
    values = values::CASES, Stores::Shared;
    /// Rows, bytes, text, time, cancelling.
    bounds = bounds::CASES, Stores::Shared;
    /// Commit, rollback, savepoints, ends by time.
    transactions = transaction::CASES, Stores::Shared;
    /// Pages of large results.
    cursors = cursor::CASES, Stores::Shared;
    /// Steps and their rows.
    ledger = ledger::CASES, Stores::Shared;
    /// Another name for what a plugin owns.
    renames = rename::CASES, Stores::Shared;
    /// Plugins, tables, check, close.
    catalog = catalog::CASES, Stores::Shared;
    /// Jobs: what is added, and when it is added again.
    job_additions = queue::add::CASES, Stores::Each;
    /// Jobs: which one is taken, and by whom.
    job_claims = queue::claim::CASES, Stores::Each;
    /// Jobs: what their holders say.
    job_ends = queue::end::CASES, Stores::Each;
    /// Jobs: ends, revivals, lists, counts, times, hints.
    job_people = queue::people::CASES, Stores::Each;
    /// Jobs: lost holders and times that are over.
    job_recovery = queue::recover::CASES, Stores::Each;
    /// Jobs: many callers at once.
    job_races = queue::race::CASES, Stores::Each;
    /// Jobs: histories by chance beside a naive model.
    job_histories = queue::history::CASES, Stores::Each;
    /// Jobs: all histories of a small world.
    job_small_worlds = queue::small::CASES, Stores::Each;
}

impl StoreSuite {
    /// A suite over the stores that `make` gives. Every one must be empty and take its time from the clock.
    pub fn new(make: impl Fn(Arc<dyn Clock>) -> Making + Send + Sync + 'static) -> Self {
        Self {
            make: Box::new(make),
        }
    }

    async fn run(&self, area: &str, cases: &[Case], stores: Stores) {
        let clock = Arc::new(SuiteClock::default());
        let mut stand = (self.make)(Arc::clone(&clock) as Arc<dyn Clock>).await;
        for (at, (name, case)) in cases.iter().enumerate() {
            if at > 0 && stores == Stores::Each {
                stand = (self.make)(Arc::clone(&clock) as Arc<dyn Clock>).await;
            }
            let given = Given::new(&stand, Arc::clone(&clock), at);
            if let Err(error) = given::spawn(case(given)).await {
                std::panic::panic_any(format!("{area}, case {name}: {error}"));
            }
        }
        drop(stand.keep);
    }
}
