//! Configuration in two stages: *raw* is what the files and flags say, *ready* has nothing left to
//! resolve.
//!
//! Two files are read when they are there: the user's (`$XDG_CONFIG_HOME/kodex/config.toml`) and the
//! project's (`.kodex/config.toml`, from the working directory upward). The project's wins over the
//! user's, flags win over both. `--config FILE` is read instead of both. A file with a mistake is
//! refused as a whole; half a configuration helps nobody.

mod file;
mod raw;
mod ready;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use ready::{Ready, tidy};
pub(crate) use work::{LogFormat, Program, Work, address};
