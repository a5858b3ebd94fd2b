//! Python plugins before they run: which interpreter, which installed packages offer plugins, the
//! embedded SDK, and what a plugin without a manifest file declares in code.
//!
//! Everything but [`inspect`] reads files only; listing unchanged plugins starts no Python. Nothing
//! here decides whether a plugin may run, and nothing keeps a plugin running: that is the worker's.

pub mod cache;
pub mod declarations;
pub mod entry_points;
pub mod inspect;
pub mod interpreter;
pub mod sdk;

pub use cache::Cache;
pub use declarations::{Declarant, Declarations, Declared};
pub use entry_points::{EntryPoint, GROUP, Scanned, entry_points};
pub use inspect::{InspectError, Inspection, Inspector, Source, Subject};
pub use interpreter::{Found, Identity, Interpreter, InterpreterError, Search, Variables};
pub use sdk::{Sdk, SdkError};

/// Bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
