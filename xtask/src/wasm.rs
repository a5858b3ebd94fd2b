//! The contract must compile for `wasm32-unknown-unknown`, where guests will link it.
//!
//! rustup's toolchain may have no standard library for that target. Debian's compiler for the web
//! comes with the library's source, from which cargo builds it.

use std::path::Path;

use anyhow::Result;

use crate::cargo::{BUILD, cargo};
use crate::setup;

const TARGET: &str = "wasm32-unknown-unknown";

pub(crate) fn run(root: &Path) -> Result<()> {
    setup::ensure(setup::WASM)?;
    cargo(BUILD)
        .args(["check", "--package", "kodex-plugin", "--target", TARGET])
        .args(["--target-dir", "target/wasm", "-Zbuild-std=std,panic_abort"])
        .env("RUSTC", "/usr/bin/rustc")
        // `cargo run` puts rustup's libraries on this path; that compiler has its own.
        .without_env("LD_LIBRARY_PATH")
        // `-Zbuild-std` is not stable; what is checked here is only that our code compiles.
        .env("RUSTC_BOOTSTRAP", "1")
        .dir(root)
        .run()
}
