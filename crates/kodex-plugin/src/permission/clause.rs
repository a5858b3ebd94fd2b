//! One permission, cut into its parts but not yet understood, and the writer of the normal form.
//!
//! A scope takes the target and the constraints it knows; what is left over is refused here, so no
//! scope can forget to refuse it.

use std::{collections::BTreeSet, fmt::Display, ops::Range};

use super::{
    access::{Access, Accesses},
    error::{Fault, Rule},
    text::{Word, words, write_literal, write_quoted},
    value,
};

/// The parts of one permission.
pub(super) struct Clause<'t> {
    pub(super) scope: Word<'t>,
    accesses: Option<Vec<Word<'t>>>,
    targets: Vec<Word<'t>>,
    constraints: Vec<Constraint<'t>>,
    known: Vec<&'static str>,
}

struct Constraint<'t> {
    key: Word<'t>,
    value: Word<'t>,
    is_taken: bool,
}

impl<'t> Clause<'t> {
    pub(super) fn cut(text: &'t str) -> Result<Self, Fault> {
        let words = words(text)?;
        let Some((head, rest)) = words.split_first() else {
            let fault = Fault::new(Rule::TextEmpty, 0..text.len(), "there is no text");
            return Err(fault.with_hint("write for example `fs:read ${project}/src/**`"));
        };
        let colon = head.text.find(':');
        let accesses = match colon {
            Some(at) => Some(head.from(at + 1).split(',')?),
            None => None,
        };
        let mut clause = Self {
            scope: head.part(0..colon.unwrap_or(head.text.len())),
            accesses,
            targets: Vec::new(),
            constraints: Vec::new(),
            known: Vec::new(),
        };
        for word in rest {
            clause.add(*word)?;
        }
        Ok(clause)
    }

    fn add(&mut self, word: Word<'t>) -> Result<(), Fault> {
        let Some(at) = word.text.find('=').filter(|at| is_key(&word.text[..*at])) else {
            if let Some(last) = self.constraints.last() {
                let fault = word.fault(Rule::TargetUnexpected, "only constraints can stand here");
                let key = last.key.text;
                return Err(fault.with_hint(format!(
                    "write `{key}=value` without blanks; \
                    the target comes before all constraints"
                )));
            }
            self.targets.push(word);
            return Ok(());
        };
        let (key, value) = (word.part(0..at), word.from(at + 1));
        if self
            .constraints
            .iter()
            .any(|known| known.key.text == key.text)
        {
            let message = format!("`{}` is said twice", key.text);
            return Err(key.fault(Rule::ConstraintDuplicate, message));
        }
        if value.text.is_empty() {
            let message = format!("`{}` has no value", key.text);
            return Err(word
                .fault(Rule::ConstraintValue, message)
                .with_hint(format!("write `{}=value` without blanks", key.text)));
        }
        self.constraints.push(Constraint {
            key,
            value,
            is_taken: false,
        });
        Ok(())
    }

    fn head_span(&self) -> Range<usize> {
        let last = self.accesses.as_ref().and_then(|accesses| accesses.last());
        self.scope.start..last.map_or(self.scope.span().end, |last| last.span().end)
    }

    /// The accesses of a scope that has them.
    pub(super) fn accesses<A: Access>(&self) -> Result<Accesses<A>, Fault> {
        let given = self.accesses.as_deref().unwrap_or_default();
        let is_blank = given.iter().all(|word| word.text.is_empty());
        if is_blank {
            let words: Vec<_> = A::ALL.iter().map(|access| access.word()).collect();
            let scope = self.scope.text;
            return Err(Fault::new(
                Rule::AccessMissing,
                self.head_span(),
                format!("`{scope}` needs an access"),
            )
            .with_hint(format!(
                "write `{scope}:{}`",
                words.join(&format!("` or `{scope}:"))
            )));
        }
        if let Some(empty) = given.iter().find(|word| word.text.is_empty()) {
            let place = empty.start.saturating_sub(1)..empty.start;
            return Err(
                Fault::new(Rule::AccessUnknown, place, "an access is missing here")
                    .with_hint("accesses are joined by a comma without blanks"),
            );
        }
        Accesses::parse(given)
    }

    /// The only access, for scopes whose accesses have targets of their own.
    pub(super) fn access<A: Access>(&self) -> Result<A, Fault> {
        let accesses = self.accesses::<A>()?;
        let mut iter = accesses.iter();
        match (iter.next(), iter.next()) {
            (Some(access), None) => Ok(access),
            _ => Err(Fault::new(
                Rule::AccessCombined,
                self.head_span(),
                format!("the accesses of `{}` cannot be combined", self.scope.text),
            )
            .with_hint("write one permission for each")),
        }
    }

    /// Refuses accesses, for scopes without any.
    pub(super) fn no_access(&self) -> Result<(), Fault> {
        if self.accesses.is_none() {
            return Ok(());
        }
        let scope = self.scope.text;
        let message = format!("`{scope}` has no accesses");
        Err(
            Fault::new(Rule::AccessUnexpected, self.head_span(), message)
                .with_hint(format!("write `{scope}`")),
        )
    }

    /// The only target. `example` is a permission of this scope that is right.
    pub(super) fn target(&self, example: &str) -> Result<Word<'t>, Fault> {
        let (target, rest) = self.targets(example)?;
        match rest.first() {
            None => Ok(target),
            Some(word) => Err(unexpected(*word)
                .with_hint("a name with a blank must be quoted; write one permission per target")),
        }
    }

    /// The first target and what follows it.
    pub(super) fn targets(&self, example: &str) -> Result<(Word<'t>, &[Word<'t>]), Fault> {
        self.targets
            .split_first()
            .map(|(first, rest)| (*first, rest))
            .ok_or_else(|| {
                Fault::new(
                    Rule::TargetMissing,
                    self.head_span(),
                    "the target is missing",
                )
                .with_hint(format!("write for example `{example}`"))
            })
    }

    /// Refuses targets.
    pub(super) fn no_target(&self) -> Result<(), Fault> {
        self.targets
            .first()
            .map_or(Ok(()), |word| Err(unexpected(*word)))
    }

    /// The value of a constraint, which counts as known from now on.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Word<'t>> {
        self.known.push(key);
        let found = self
            .constraints
            .iter_mut()
            .find(|found| found.key.text == key)?;
        found.is_taken = true;
        Some(found.value)
    }

    /// Like `take` when the constraint binds something, and a refusal otherwise.
    pub(super) fn take_if(
        &mut self,
        fits: bool,
        key: &'static str,
        needs: &str,
    ) -> Result<Option<Word<'t>>, Fault> {
        let value = self.take(key);
        let found = self.constraints.iter().find(|found| found.key.text == key);
        match found {
            Some(found) if !fits => {
                let message = format!("`{key}` binds nothing here; it needs {needs}");
                Err(found.key.fault(Rule::ConstraintUnfit, message))
            }
            _ => Ok(value),
        }
    }

    pub(super) fn count(&mut self, key: &'static str) -> Result<Option<u64>, Fault> {
        self.take(key).map(value::count).transpose()
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<u64>, Fault> {
        self.take(key).map(value::size).transpose()
    }

    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
    ) -> Result<Option<T>, Fault> {
        let value = self.take(key);
        value.map(|word| value::choice(word, known)).transpose()
    }

    /// Refuses every constraint that no one took.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let Some(left) = self.constraints.iter().find(|found| !found.is_taken) else {
            return Ok(());
        };
        let key = left.key;
        let message = format!("`{}` is no constraint of `{}`", key.text, self.scope.text);
        let fault = key.fault(Rule::ConstraintUnknown, message);
        Err(match self.known.as_slice() {
            [] => fault.with_hint("this scope has no constraints"),
            known => fault.with_known(key.text, known),
        })
    }
}

fn unexpected(word: Word<'_>) -> Fault {
    let message = format!("`{}` has no meaning here", word.text);
    word.fault(Rule::TargetUnexpected, message)
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A set of values from a list that is not empty.
pub(super) fn set<'t, T: Ord>(
    word: Word<'t>,
    item: impl Fn(Word<'t>) -> Result<T, Fault>,
) -> Result<BTreeSet<T>, Fault> {
    let items = word.items()?;
    if items.is_empty() {
        return Err(word
            .fault(Rule::ConstraintValue, "the list is empty")
            .with_hint("leave the constraint out, or name at least one value"));
    }
    items.into_iter().map(item).collect()
}

/// Writes the normal form. Call in the order of the text, constraints sorted by key.
pub(super) struct Canonical(String);

impl Canonical {
    pub(super) fn new(scope: &str, accesses: &[&str]) -> Self {
        let mut text = scope.to_owned();
        if !accesses.is_empty() {
            text.push(':');
            text.push_str(&accesses.join(","));
        }
        Self(text)
    }

    #[must_use]
    pub(super) fn target(mut self, target: impl Display) -> Self {
        self.0.push_str(&format!(" {target}"));
        self
    }

    #[must_use]
    pub(super) fn constraint(mut self, key: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            self.0.push_str(&format!(" {key}={value}"));
        }
        self
    }

    /// A list of values that are written bare.
    #[must_use]
    pub(super) fn list<T: Display>(self, key: &str, values: Option<&BTreeSet<T>>) -> Self {
        let list = values.map(|values| {
            // Sorted as texts, so that a reader of the normal form needs to know no other order.
            let texts: BTreeSet<String> = values.iter().map(T::to_string).collect();
            let texts: Vec<String> = texts.into_iter().collect();
            format!("[{}]", texts.join(","))
        });
        self.constraint(key, list)
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// A name as the normal form writes it.
pub(super) fn literal(name: &str) -> String {
    let mut text = String::new();
    write_literal(&mut text, name);
    text
}

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    let mut text = String::new();
    write_quoted(&mut text, name);
    text
}

/// Whether an upper limit is at least as generous as another. No limit is the most generous.
pub(super) fn covers_most(wide: Option<u64>, narrow: Option<u64>) -> bool {
    wide.is_none_or(|wide| narrow.is_some_and(|narrow| narrow <= wide))
}

/// Whether a lower limit is at least as generous as another.
pub(super) fn covers_least(wide: Option<u64>, narrow: Option<u64>) -> bool {
    wide.is_none_or(|wide| narrow.is_some_and(|narrow| narrow >= wide))
}

/// Whether every value of the narrower list is covered by one of the wider. No list covers all.
pub(super) fn covers_list<T>(
    wide: Option<&BTreeSet<T>>,
    narrow: Option<&BTreeSet<T>>,
    covers: impl Fn(&T, &T) -> bool,
) -> bool {
    wide.is_none_or(|wide| {
        narrow.is_some_and(|narrow| {
            let is_covered = |value: &T| wide.iter().any(|wide| covers(wide, value));
            narrow.iter().all(is_covered)
        })
    })
}
