//! Panics as values, for tests that expect one.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// The text of a panic.
///
/// ```
/// let panicked = kodex_testkit::capture(|| panic!("no such file")).unwrap_err();
/// assert_eq!(panicked.to_string(), "no such file");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked {
    /// What the code said; a placeholder when it panicked with something that is no text.
    pub message: String,
}

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("a panic without text").to_owned(),
        }
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Panicked {}

/// Runs code and gives its panic as an error.
///
/// The process-wide panic hook still prints its lines: replacing it would reach into tests that run
/// at the same time. Code built with `panic = "abort"` cannot be captured.
///
/// # Errors
/// [`Panicked`] with the text of the panic.
///
/// ```
/// use kodex_testkit::capture;
/// assert_eq!(capture(|| 1 + 1), Ok(2));
/// assert!(capture(|| Vec::<u8>::new()[3]).is_err());
/// ```
pub fn capture<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    // What the closure left half-done is the test's own; a test that looks at it after a panic
    // wants to see exactly that.
    catch_unwind(AssertUnwindSafe(code)).map_err(|payload| Panicked::of(&*payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_panic_has_a_text() {
        let number = 3;
        assert_eq!(capture(|| number), Ok(3));
        let check = |got: Result<(), Panicked>, want: &str| {
            assert_eq!(got.map_err(|p| p.message), Err(want.to_owned()));
        };
        check(capture(|| panic!("plain")), "plain");
        check(capture(|| panic!("number {number}")), "number 3");
        check(
            capture(|| std::panic::panic_any(7_u8)),
            "a panic without text",
        );
    }
}
