//! The last outcomes of one breaker: a ring, so that one outcome more is one store, and a count of
//! those that could open it, so that a run of successes is never looked through.

use std::time::{Duration, Instant};

use super::{Ended, is_failure};

#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Grows up to `size`, then is written over from the start.
    ring: Vec<(Instant, Ended)>,
    size: usize,
    /// Where the oldest outcome stands.
    first: usize,
    len: usize,
    n_failed: usize,
    n_slow: usize,
}

impl Window {
    pub(super) fn new(size: usize) -> Self {
        let size = size.max(1);
        Self {
            ring: Vec::with_capacity(size),
            size,
            first: 0,
            len: 0,
            n_failed: 0,
            n_slow: 0,
        }
    }

    /// Whether nothing in it could open a breaker.
    #[inline]
    pub(super) fn is_clean(&self) -> bool {
        self.n_failed + self.n_slow == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn failure_ratio(&self) -> f64 {
        self.n_failed as f64 / self.len as f64
    }

    pub(super) fn slow_ratio(&self) -> f64 {
        self.n_slow as f64 / self.len as f64
    }

    pub(super) fn clear(&mut self) {
        self.ring.clear();
        (self.first, self.len) = (0, 0);
        (self.n_failed, self.n_slow) = (0, 0);
    }

    /// Adds an outcome in place of the oldest one if it is full.
    #[inline]
    pub(super) fn push(&mut self, at: Instant, ended: Ended) {
        if self.len == self.size {
            self.pop();
        }
        let mut next = self.first + self.len;
        if next >= self.size {
            next -= self.size;
        }
        match self.ring.get_mut(next) {
            Some(place) => *place = (at, ended),
            None => self.ring.push((at, ended)),
        }
        self.len += 1;
        self.n_failed += usize::from(is_failure(ended));
        self.n_slow += usize::from(ended == Ended::Slow);
    }

    /// Drops what is older than `age`.
    pub(super) fn forget_older(&mut self, age: Duration, now: Instant) {
        while self.len > 0 && now.saturating_duration_since(self.ring[self.first].0) > age {
            self.pop();
        }
    }

    #[inline]
    fn pop(&mut self) {
        // Of a clean window nothing has to be looked at.
        if !self.is_clean() {
            let (_, ended) = self.ring[self.first];
            self.n_failed -= usize::from(is_failure(ended));
            self.n_slow -= usize::from(ended == Ended::Slow);
        }
        self.first += 1;
        if self.first == self.size {
            self.first = 0;
        }
        self.len -= 1;
    }
}
