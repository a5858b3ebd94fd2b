//! The backend against real processes.

#[cfg(feature = "worker")]
mod python_inspect;
#[cfg(feature = "worker")]
mod python_interpreter;
#[cfg(feature = "worker")]
mod python_world;
