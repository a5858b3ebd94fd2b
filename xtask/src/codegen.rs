//! `cargo xtask codegen`: starts the generator, a package of its own (`xtask/codegen`).
//!
//! The generator links the crates whose tables and types it writes down; this program links none.

use std::path::Path;

use anyhow::Result;

use crate::cargo::{QUESTION, WORKSPACE, build_binary};
use crate::step::Step;

pub(crate) fn run(root: &Path, is_check: bool) -> Result<()> {
    let options = [WORKSPACE, &["--bin", "kodex-codegen"]].concat();
    let program = build_binary(root, "kodex-codegen", &options)?;
    let step = Step::new(program, QUESTION).arg(root);
    if is_check {
        step.arg("--check").run()
    } else {
        step.run()
    }
}
