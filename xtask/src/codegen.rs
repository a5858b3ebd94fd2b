//! `cargo xtask codegen`: starts the generator, a package of its own (`xtask/codegen`).
//!
//! The generator links the crates whose tables and types it writes down; this program links none.

use std::path::Path;

use anyhow::Result;

use crate::cargo::{AS_TESTED, QUESTION, build_binary};
use crate::step::Step;

/// Writes the files.
pub(crate) fn write(root: &Path) -> Result<()> {
    let options = ["--package", "kodex-codegen", "--bins"];
    Step::new(build_binary(root, "kodex-codegen", &options)?, QUESTION)
        .arg(root)
        .run()
}

/// Fails when a file is not what it would be.
pub(crate) fn check(root: &Path) -> Result<()> {
    let program = build_binary(root, "kodex-codegen", AS_TESTED)?;
    Step::new(program, QUESTION).arg(root).arg("--check").run()
}
