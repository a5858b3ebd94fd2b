//! What nodes at work promise, as a check of what they did.
//!
//! The program beside this library drives real nodes under faults and writes everything down; here is the
//! judgement, a pure function from a [`history::History`] to what was violated. It reads no store, no
//! clock and no file, so hand-made histories show that it can say no.

pub mod check;
pub mod history;
pub mod seed;
