//! Python plugins before they run: which interpreter, which installed packages offer plugins, the
//! embedded SDK, and what a plugin without a manifest file declares in code.
//!
//! Everything but [`inspect`] reads files only; listing unchanged plugins starts no Python. Nothing
//! here decides whether a plugin may run, and nothing keeps a plugin running: that is the worker's.

pub mod cache;
mod codes;
pub mod declarations;
pub mod entry_points;
pub mod inspect;
pub mod interpreter;
pub mod sdk;

pub use cache::{Answer, Cache, Declaration};
pub use codes::CODES;
pub use declarations::{Contexts, Declarant, Declarations, Declared};
pub use entry_points::{EntryPoint, GROUP, Scanned, entry_points};
pub use inspect::{InspectError, Inspection, Inspector, Source, Subject};
pub use interpreter::{Found, Identity, Interpreter, InterpreterError, Search, Variables};
pub use sdk::{Sdk, SdkError};

/// Bytes as lower-case hexadecimal digits. Listing plugins makes thousands of these, so it goes
/// without the formatting machinery.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}
