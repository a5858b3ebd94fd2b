//! Whether a command printed what a page shows: a pure comparison with `...` for what may differ.

const ANY: &str = "...";

/// Whether the output fits what is shown. Blank lines at the end do not count.
pub(super) fn fits(shown: &str, printed: &str) -> bool {
    let shown: Vec<&str> = shown.trim_end().lines().collect();
    let printed: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
    lines_fit(&shown, &printed)
}

fn lines_fit(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first.trim() == ANY => {
            (0..=printed.len()).any(|n| lines_fit(rest, &printed[n..]))
        }
        Some((first, rest)) => match printed.split_first() {
            Some((line, others)) => line_fits(first.trim_end(), line) && lines_fit(rest, others),
            None => false,
        },
    }
}

fn line_fits(shown: &str, line: &str) -> bool {
    let mut pieces = shown.split(ANY);
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn output_is_compared_line_by_line() {
        for (shown, printed, want) in [
            ("", "", true),
            ("", "x\n", false),
            ("a\nb\n", "a\nb\n\n", true),
            ("a\n", "a\nb\n", false),
            ("a\nb\n", "a\n", false),
            ("a  \n", "a\n", true),
            ("...\n", "", true),
            ("...\nb\n", "a\na\nb\n", true),
            ("...\nb\n", "a\nb\nc\n", false),
            ("a\n...\nc\n...\n", "a\nc\nd\n", true),
            ("took ... ms", "took 12 ms", true),
            ("took ... ms", "took 12 s", false),
            ("...: no ...", "sh: 1: no such file", true),
            ("a...b...c", "a1b2c", true),
            ("a...b...c", "a1c", false),
            ("ab...b", "ab", false),
            ("exactly", "exactly so", false),
        ] {
            assert_eq!(fits(shown, printed), want, "{shown:?} {printed:?}");
        }
    }
}
