//! The backend against real processes.
#![cfg_attr(
    feature = "worker",
    expect(
        clippy::disallowed_methods,
        reason = "processes live in real time, and some tests are hosts themselves"
    )
)]

#[cfg(feature = "worker")]
mod calls;
#[cfg(feature = "worker")]
mod misbehaving;
#[cfg(feature = "worker")]
mod processes;
#[cfg(feature = "worker")]
mod python_declarations;
#[cfg(feature = "worker")]
mod python_entry_points;
#[cfg(feature = "worker")]
mod python_inspect;
#[cfg(feature = "worker")]
mod python_interpreter;
#[cfg(feature = "worker")]
mod python_world;
#[cfg(all(feature = "native", feature = "suite", feature = "worker"))]
mod suite;
#[cfg(feature = "worker")]
mod support;
