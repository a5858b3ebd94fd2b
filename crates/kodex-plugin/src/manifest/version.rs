//! A plugin's version: the text that the author wrote, and its semantic reading where there is one.

use std::fmt;

/// A version as written, with its semantic reading.
///
/// Lenient forms (`v1.2`, `1`, `1.2.0.3`) keep their text, which is what people see; `semver` holds
/// the normalised form, or nothing when there is none.
///
/// ```
/// use kodex_plugin::manifest::Version;
/// assert_eq!(Version::new("1.2.3").semver.unwrap().to_string(), "1.2.3");
/// assert_eq!(Version::new(" v1.2 ").semver.unwrap().to_string(), "1.2.0");
/// assert!(Version::new("next").semver.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As written, without blanks at the ends.
    pub text: String,
    /// The semantic version, if the text is or can be read as one.
    pub semver: Option<semver::Version>,
}

impl Version {
    /// Reads a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = text.trim();
        Self {
            text: text.to_owned(),
            semver: read(text),
        }
    }

    /// Whether the text is exactly a semantic version.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        // The grammar has one spelling for each version, so a text that parses is that spelling.
        let own = semver::Version::parse(&self.text).ok();
        own.is_some() && own == self.semver
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn read(text: &str) -> Option<semver::Version> {
    if let Ok(version) = semver::Version::parse(text) {
        return Some(version);
    }
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let tail_at = text.find(['-', '+']).unwrap_or(text.len());
    let (head, tail) = text.split_at(tail_at);
    let mut parts = head
        .split('.')
        .map(|part| part.parse::<u64>().ok())
        .collect::<Option<Vec<_>>>()?;
    if parts.is_empty() || parts.len() > 4 {
        return None;
    }
    parts.resize(3, 0);
    semver::Version::parse(&format!("{}.{}.{}{tail}", parts[0], parts[1], parts[2])).ok()
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn exact_is_what_is_written_as_it_is_read() {
        for (text, want) in [
            ("1.2.3", true),
            ("1.2.3-rc.1+linux.02", true),
            (" 1.2.3 ", true),
            ("v1.2.3", false),
            ("1.2", false),
            ("01.2.3", false),
            ("1.2.3-01", false),
            ("", false),
        ] {
            let version = Version::new(text);
            assert_eq!(version.is_exact(), want, "{text:?}");
            let spelled = version.semver.as_ref().map(ToString::to_string);
            assert_eq!(spelled.as_deref() == Some(text.trim()), want, "{text:?}");
        }
    }
}
