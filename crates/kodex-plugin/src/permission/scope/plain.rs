//! Scopes that are only a word.

use super::{Canonical, Clause, Fault, Grammar};

macro_rules! plain {
    ($($(#[$doc:meta])+ $name:ident)+) => {
        $(
            $(#[$doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            #[non_exhaustive]
            pub struct $name;

            impl Grammar for $name {
                fn parse(clause: &mut Clause<'_>) -> Result<Self, Fault> {
                    clause.no_access()?;
                    clause.no_target()?;
                    Ok(Self)
                }

                fn write(&self, scope: &str) -> Canonical {
                    Canonical::new(scope, &[])
                }

                fn atoms(&self) -> Vec<Self> {
                    vec![*self]
                }

                fn covers(&self, _: &Self) -> bool {
                    true
                }
            }
        )+
    };
}

plain! {
    /// Reading the state of the runtime through the admin interface.
    Admin
    /// A clock of high resolution. Coarse time needs no permission.
    Clock
    /// A panel on the dashboard.
    Ui
}
