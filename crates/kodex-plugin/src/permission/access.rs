//! The words after the scope, and what one of them implies.

use std::fmt;

use super::{
    error::{Fault, Rule},
    text::Word,
};

/// One access of a scope, such as `read`.
pub trait Access: Copy + Ord + fmt::Debug + 'static {
    /// Every access of the scope, sorted by its word.
    const ALL: &'static [Self];

    /// The word in the text.
    fn word(self) -> &'static str;

    /// Accesses that come with this one.
    fn implied(self) -> &'static [Self];
}

macro_rules! accesses {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal $(implies [$($implied:ident),+])?,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $crate::permission::Access for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            fn implied(self) -> &'static [Self] {
                match self {
                    $(Self::$variant => &[$($(Self::$implied,)+)?],)+
                }
            }
        }
    };
}
pub(super) use accesses;

/// The accesses of one permission: at least one, sorted, without those that another one implies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accesses<A>(Vec<A>);

impl<A: Access> Accesses<A> {
    pub(super) fn one(access: A) -> Self {
        Self(vec![access])
    }

    pub(super) fn parse(words: &[Word<'_>]) -> Result<Self, Fault> {
        let named = words.iter().map(|word| named(*word));
        let mut named = named.collect::<Result<Vec<A>, Fault>>()?;
        named.sort();
        named.dedup();
        let implied: Vec<A> = named.iter().flat_map(|a| a.implied()).copied().collect();
        named.retain(|access| !implied.contains(access));
        Ok(Self(named))
    }

    /// Whether the access is held, by itself or because another one implies it.
    #[must_use]
    pub fn contains(&self, access: A) -> bool {
        let mut held = self.0.iter();
        held.any(|held| *held == access || held.implied().contains(&access))
    }

    /// The accesses, sorted by their words.
    pub fn iter(&self) -> impl Iterator<Item = A> + '_ {
        self.0.iter().copied()
    }

    pub(super) fn covers(&self, narrower: &Self) -> bool {
        narrower.iter().all(|access| self.contains(access))
    }

    pub(super) fn words(&self) -> Vec<&'static str> {
        self.iter().map(Access::word).collect()
    }
}

fn named<A: Access>(word: Word<'_>) -> Result<A, Fault> {
    let found = A::ALL.iter().find(|access| access.word() == word.text);
    found.copied().ok_or_else(|| {
        let known: Vec<_> = A::ALL.iter().map(|access| access.word()).collect();
        word.fault(
            Rule::AccessUnknown,
            format!("`{}` is no access of this scope", word.text),
        )
        .with_known(word.text, &known)
    })
}
