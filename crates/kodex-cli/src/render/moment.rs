//! Points in time for people: UTC, to the second, the same on every machine.

/// A time in milliseconds since 1970-01-01 UTC.
pub(crate) fn shown(unix_ms: u64) -> String {
    let at = i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match at {
        Some(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        None => unix_ms.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_moment_is_told_in_utc() {
        assert_eq!(shown(1_767_225_600_123), "2026-01-01 00:00:00Z");
        assert_eq!(shown(u64::MAX), u64::MAX.to_string());
    }
}
