//! Who the plugin is: name, version, description, capabilities, contract versions.

use super::{Key, Rules, Seen, Step, Version, code};
use crate::{CapabilityName, PluginName, manifest::report::Step::Index, wire};

/// Longer descriptions do not fit into lists; they are kept, with a warning.
const DESCRIPTION_MAX: usize = 300;

impl Rules<'_> {
    pub(super) fn name(&mut self, text: String) -> Option<PluginName> {
        self.plugin_name(&[Key("plugin"), Key("name")], text)
    }

    pub(super) fn plugin_name(&mut self, at: &[Step], text: String) -> Option<PluginName> {
        let problem = match PluginName::new(text.as_str()) {
            Ok(name) => return Some(name),
            Err(problem) => problem,
        };
        if let (true, Ok(name)) = (self.in_code, PluginName::lenient(text.as_str())) {
            self.report.warning(
                at,
                code::NAME_LENIENT,
                format!("the plugin's name {text:?} {}", problem.rule()),
                "it works, but packages and files need a name of a to z, 0 to 9 and '-'",
            );
            return Some(name);
        }
        self.report.error(
            at,
            code::NAME_PLUGIN,
            problem.to_string(),
            "use a to z, 0 to 9 and single '-', starting with a letter, such as \"word-count\"",
        );
        None
    }

    pub(super) fn version(&mut self, text: &str) -> Option<Version> {
        let at = [Key("plugin"), Key("version")];
        let version = Version::new(text);
        let hint = "write a semantic version, such as \"0.1.0\"";
        if version.is_exact() {
            return Some(version);
        }
        if let Some(read) = &version.semver {
            let message = format!("the version {text:?} is read as {read}");
            let hint = format!("write version = \"{read}\"");
            self.report
                .warning(&at, code::VERSION_NORMALISED, message, hint);
            return Some(version);
        }
        let readable = !version.text.is_empty() && !version.text.chars().any(char::is_control);
        if self.in_code && readable {
            let message = format!("the version {text:?} is no semantic version");
            self.report.warning(&at, code::VERSION_FREE, message, hint);
            return Some(version);
        }
        let message = format!("the version {text:?} cannot be read");
        self.report.error(&at, code::VERSION_INVALID, message, hint);
        None
    }

    pub(super) fn description(&mut self, mut text: String) -> Option<String> {
        let at = [Key("plugin"), Key("description")];
        if text.trim().len() != text.len() {
            text = text.trim().to_owned();
        }
        if text.is_empty() {
            self.report.error(
                &at,
                code::DESCRIPTION_BLANK,
                "`plugin.description` is blank",
                "say in one sentence what the plugin does",
            );
            return None;
        }
        if text.len() > DESCRIPTION_MAX && text.chars().count() > DESCRIPTION_MAX {
            self.report.warning(
                &at,
                code::DESCRIPTION_LONG,
                format!("`plugin.description` has more than {DESCRIPTION_MAX} characters"),
                "keep one sentence here and put the rest into a README",
            );
        }
        Some(text)
    }

    /// Trimmed, sorted, without duplicates. Plugins that declare themselves in code always had
    /// theirs cleaned without a word.
    pub(super) fn capabilities(&mut self, texts: &[String]) -> Vec<CapabilityName> {
        let mut names = Vec::with_capacity(texts.len());
        let mut seen = Seen::new();
        for (n, text) in texts.iter().enumerate() {
            let text = text.trim();
            if text.is_empty() {
                self.left_out(
                    n,
                    code::CAPABILITY_BLANK,
                    "an empty capability was left out",
                );
            } else if !seen.insert(text) {
                let message = format!("the capability {text:?} is listed twice");
                self.left_out(n, code::CAPABILITY_DUPLICATE, &message);
            } else {
                names.extend(self.capability(n, text));
            }
        }
        names.sort_unstable();
        names
    }

    fn capability(&mut self, n: usize, text: &str) -> Option<CapabilityName> {
        CapabilityName::new(text)
            .inspect_err(|problem| {
                let at = [Key("plugin"), Key("capabilities"), Index(n)];
                let hint = "use a short name, such as \"context.enrich\"";
                let message = problem.to_string();
                match self.in_code {
                    true => self
                        .report
                        .warning(&at, code::NAME_CAPABILITY, message, hint),
                    false => self.report.error(&at, code::NAME_CAPABILITY, message, hint),
                }
            })
            .ok()
    }

    fn left_out(&mut self, n: usize, code: &'static str, message: &str) {
        if !self.in_code {
            let at = [Key("plugin"), Key("capabilities"), Index(n)];
            self.report
                .warning(&at, code, message, "remove it from the list");
        }
    }

    pub(super) fn api(&mut self, text: Option<&str>) -> Option<semver::VersionReq> {
        let text = text?;
        let at = [Key("plugin"), Key("api")];
        let range = match semver::VersionReq::parse(text) {
            Ok(range) => range,
            Err(problem) => {
                let message = format!("`plugin.api` = {text:?} is no range of versions: {problem}");
                let hint = "write a range, such as \">=1, <2\"";
                self.report.error(&at, code::API_INVALID, message, hint);
                return None;
            }
        };
        let spoken = semver::Version::new(u64::from(wire::CONTRACT_VERSION), 0, 0);
        if !range.matches(&spoken) {
            let message = format!(
                "`plugin.api` = {text:?} does not include contract version {}, which this Kodex speaks",
                wire::CONTRACT_VERSION
            );
            let hint =
                "test the plugin with this version and widen the range, or use another Kodex";
            self.report.error(&at, code::API_UNSUPPORTED, message, hint);
        }
        Some(range)
    }
}
