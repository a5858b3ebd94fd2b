//! The cases that every backend must pass, given the standard plugin in its own form.
//!
//! The standard plugin answers the hooks `echo` (its payload), `none` (nothing), `null`, `raise` (the
//! error "it went wrong"), `slow` (not within a minute), `big` (a text of 200,000 characters), `log`
//! (logs the warning "seen" with the field `n` = 1), `clock` (what the host says to `clock/now`), and
//! offers the tool `add` (`{"a", "b"}` to `{"sum"}`; it refuses what are no whole numbers).
//! [`standard::native`] is its native form; `fixtures/suite` holds others.

use std::{fmt, pin::Pin, sync::Arc};

use kodex_plugin::{Clock, Plugin};

mod cases;
mod exchange;
pub mod standard;

/// A backend with the standard plugin, as the suite sees it.
pub struct Subject<'a> {
    /// Opens the standard plugin anew. It is called for every case.
    pub open: &'a (dyn Fn() -> Arc<dyn Plugin> + Send + Sync),
    /// Real time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject")
    }
}

/// What a case found: why it failed, if it did.
pub type Verdict = Result<(), String>;

type Running<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it shows, as words joined by `_`.
    pub name: &'static str,
    run: for<'a> fn(&'a exchange::Exchange) -> Running<'a>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The suite.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackendSuite;

impl BackendSuite {
    /// All cases, in the order in which they run.
    #[must_use]
    pub fn cases(self) -> &'static [Case] {
        cases::CASES
    }

    /// Runs all cases and names those that failed, with why. Needs a tokio runtime with time.
    pub async fn run(self, subject: &Subject<'_>) -> Vec<(&'static str, String)> {
        let mut failed = Vec::new();
        for case in self.cases() {
            let exchange = exchange::Exchange::new((subject.open)(), Arc::clone(&subject.clock));
            let verdict = match exchange.begin().await {
                Ok(()) => (case.run)(&exchange).await,
                Err(error) => Err(format!("the plugin does not start: {error}")),
            };
            let end = exchange.end().await;
            if let Err(why) = verdict.and(end) {
                failed.push((case.name, why));
            }
        }
        failed
    }
}
