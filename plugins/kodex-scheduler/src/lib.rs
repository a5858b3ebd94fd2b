//! Kodex's scheduler: an ordinary plugin that starts agent runs by the clock.
pub mod cadence;
