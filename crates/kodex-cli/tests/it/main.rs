//! The real program on real plugins: one binary for all tests of the command line.

mod bad_input;
mod config;
mod dev;
mod first_runtime;
mod report;
mod scaffold;
mod scale;
mod sdks;
mod serve;
mod signals;
mod store;
mod terminal;
mod verbs;
mod world;
