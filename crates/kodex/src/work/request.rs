//! What a plugin may ask of agent runs and jobs: the rules, and what is stored of a request.

use std::collections::BTreeMap;

use kodex_plugin::{
    HookName, HostError, PluginName,
    wire::work::{AgentDispatch, Destination, JobEnqueue, Subject, Visibility, bounds},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A request for an agent run as it is stored, the payload of its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    pub(crate) destination: Destination,
    pub(crate) input: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) source: Destination,
    #[serde(default)]
    pub(crate) visibility: Visibility,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<BoundSubject>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attribution: Option<String>,
}

/// Whose credentials a run may use, bound by the host to where it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoundSubject {
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    pub(crate) destination: Destination,
}

/// The id of a run: the same plugin and key always give the same.
pub(crate) fn run_id(plugin: &PluginName, key: &str) -> String {
    format!("run_{}", hash(&[plugin.as_str(), key]))
}

/// The id of a job with a key.
pub(crate) fn job_id(plugin: &PluginName, name: &str, key: &str) -> String {
    format!("job_{}", hash(&[plugin.as_str(), name, key]))
}

/// A name of fixed length for a longer one.
pub(crate) fn digest(name: &str) -> String {
    hash(&[name])
}

/// 128 bits over parts that hold no NUL.
fn hash(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\0"));
    digest[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Judges a request and makes of it what is stored. `kinds` are the destinations that this runtime knows.
pub(crate) fn run_request(
    plugin: &PluginName,
    asked: AgentDispatch,
    kinds: &[&str],
) -> Result<RunRequest, HostError> {
    let refuse = |field: &str, rule: String| {
        let text = format!("plugin {plugin}: the agent run's {field} {rule}; nothing was stored");
        Err(HostError::new("agent.invalid", text))
    };
    if let Some(rule) = text_rule(&asked.idempotency_key, bounds::KEY, Lines::Many) {
        return refuse("idempotency_key", rule);
    }
    if let Some(rule) = text_rule(&asked.input, bounds::INPUT, Lines::Many) {
        return refuse("input", rule);
    }
    if let Some((part, rule)) = place_rule(&asked.destination, Some(kinds)) {
        return refuse(&format!("destination.{part}"), rule);
    }
    if let Some(source) = &asked.source
        && let Some((part, rule)) = place_rule(source, None)
    {
        return refuse(&format!("source.{part}"), rule);
    }
    if asked.metadata.len() > bounds::N_METADATA {
        let n = asked.metadata.len();
        return refuse(
            "metadata",
            format!("has {n} entries; at most {} are kept", bounds::N_METADATA),
        );
    }
    for (key, value) in &asked.metadata {
        if let Some(rule) = text_rule(key, bounds::METADATA_KEY, Lines::One) {
            return refuse("metadata", format!("has a key that {rule}"));
        }
        if let Some(rule) = line_rule(value, bounds::METADATA_VALUE) {
            return refuse(&format!("metadata.{key}"), rule);
        }
    }
    if let Some(attribution) = &asked.attribution
        && let Some(rule) = text_rule(attribution, bounds::ATTRIBUTION, Lines::One)
    {
        return refuse("attribution", rule);
    }
    if let Some(rule) = subject_rule(&asked) {
        return refuse("subject", rule);
    }
    let bind = |Subject { user, task }| BoundSubject {
        user,
        task,
        destination: asked.destination.clone(),
    };
    Ok(RunRequest {
        subject: asked.subject.map(bind),
        source: asked.source.unwrap_or_else(|| asked.destination.clone()),
        destination: asked.destination,
        input: asked.input,
        metadata: asked.metadata,
        visibility: asked.visibility,
        attribution: asked.attribution,
    })
}

/// A person's credentials are used in a conversation of that person alone and nowhere else.
fn subject_rule(asked: &AgentDispatch) -> Option<String> {
    let subject = asked.subject.as_ref()?;
    if let Some(rule) = text_rule(&subject.user, bounds::ADDRESS, Lines::One) {
        return Some(format!("has a user that {rule}"));
    }
    if let Some(task) = &subject.task
        && let Some(rule) = text_rule(task, bounds::ADDRESS, Lines::One)
    {
        return Some(format!("has a task that {rule}"));
    }
    if asked.destination.kind != "session" || asked.visibility != Visibility::Private {
        return Some("is allowed for a private destination of kind `session` alone".to_owned());
    }
    None
}

/// Judges a wish for a job; gives the name of its hook.
pub(crate) fn job_request(plugin: &PluginName, asked: &JobEnqueue) -> Result<HookName, HostError> {
    let refuse = |field: &str, rule: String| {
        let text = format!("plugin {plugin}: the job's {field} {rule}; nothing was stored");
        Err(HostError::new("job.invalid", text))
    };
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let is_name =
        !asked.name.is_empty() && asked.name.len() <= 128 && asked.name.chars().all(is_word);
    let hook = match HookName::new(format!("job.{}", asked.name)) {
        Ok(hook) if is_name => hook,
        _ => {
            let rule =
                "is none: lower-case letters, digits, dots, hyphens and underscores, at most 128";
            return refuse("name", rule.to_owned());
        }
    };
    for (field, text) in [("key", &asked.key), ("lane", &asked.lane)] {
        if let Some(text) = text
            && let Some(rule) = text_rule(text, bounds::KEY, Lines::Many)
        {
            return refuse(field, rule);
        }
    }
    if asked.max_attempts.is_some_and(|n| !(1..=100).contains(&n)) {
        return refuse(
            "max_attempts",
            "is out of bounds; 1 to 100 are allowed".to_owned(),
        );
    }
    if asked.delay_ms > MAX_DELAY_MS {
        return refuse("delay_ms", format!("is over {MAX_DELAY_MS}, ten years"));
    }
    Ok(hook)
}

/// Ten years.
const MAX_DELAY_MS: u64 = 10 * 366 * 86_400_000;

#[derive(Clone, Copy, PartialEq)]
enum Lines {
    One,
    Many,
}

fn text_rule(text: &str, limit: usize, lines: Lines) -> Option<String> {
    if text.trim().is_empty() {
        return Some("is blank".to_owned());
    }
    match lines {
        Lines::One => line_rule(text, limit),
        Lines::Many => length_rule(text, limit),
    }
}

fn line_rule(text: &str, limit: usize) -> Option<String> {
    if text
        .chars()
        .any(|c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'))
    {
        return Some("has a line break".to_owned());
    }
    length_rule(text, limit)
}

fn length_rule(text: &str, limit: usize) -> Option<String> {
    if text.contains('\0') {
        return Some("holds a NUL character".to_owned());
    }
    let n = text.chars().count();
    (n > limit).then(|| format!("has {n} characters; at most {limit} are allowed"))
}

fn place_rule(place: &Destination, kinds: Option<&[&str]>) -> Option<(&'static str, String)> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if place.kind.is_empty() || place.kind.len() > 40 || !place.kind.chars().all(is_word) {
        let rule = "is no name: lower-case letters, digits and hyphens, at most 40";
        return Some(("kind", rule.to_owned()));
    }
    if let Some(kinds) = kinds
        && !kinds.contains(&place.kind.as_str())
    {
        let rule = format!(
            "{:?} is unknown here; known are {}",
            place.kind,
            kinds.join(", ")
        );
        return Some(("kind", rule));
    }
    text_rule(&place.address, bounds::ADDRESS, Lines::One).map(|rule| ("address", rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kodex_plugin::wire::work::JobPriority;

    fn asked() -> AgentDispatch {
        AgentDispatch {
            ticket: 1,
            idempotency_key: "k".into(),
            destination: Destination {
                kind: "session".into(),
                address: "s-1".into(),
            },
            input: "do it".into(),
            metadata: BTreeMap::new(),
            source: None,
            visibility: Visibility::Private,
            subject: None,
            attribution: None,
        }
    }

    fn check(change: impl FnOnce(&mut AgentDispatch), want: Result<(), &str>) {
        let plugin = PluginName::new("p").expect("a name");
        let mut asked = asked();
        change(&mut asked);
        match (run_request(&plugin, asked, &["session", "file"]), want) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => {
                assert_eq!(error.code, "agent.invalid");
                assert!(error.message.contains(part), "{part}: {}", error.message);
            }
            (got, want) => panic!("{want:?}: {got:?}"),
        }
    }

    #[test]
    fn each_field_has_its_rule() {
        let long = |n: usize| "x".repeat(n);
        let many = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect();
        let subject = |user: &str| {
            Some(Subject {
                user: user.into(),
                task: None,
            })
        };
        check(|_| {}, Ok(()));
        check(|a| a.idempotency_key = long(512), Ok(()));
        check(
            |a| a.idempotency_key = long(513),
            Err("idempotency_key has 513"),
        );
        check(
            |a| a.idempotency_key = " ".into(),
            Err("idempotency_key is blank"),
        );
        check(|a| a.input = long(32_000), Ok(()));
        check(|a| a.input = long(32_001), Err("input has 32001"));
        check(|a| a.input = "\n ".into(), Err("input is blank"));
        check(|a| a.input = "two\nlines".into(), Ok(()));
        check(|a| a.metadata = many(20), Ok(()));
        check(|a| a.metadata = many(21), Err("metadata has 21 entries"));
        let entry = |key: String, value: String| BTreeMap::from([(key, value)]);
        check(|a| a.metadata = entry(long(128), String::new()), Ok(()));
        check(
            |a| a.metadata = entry(long(129), String::new()),
            Err("a key that has 129"),
        );
        check(
            |a| a.metadata = entry(" ".into(), String::new()),
            Err("a key that is blank"),
        );
        check(|a| a.metadata = entry("k".into(), long(512)), Ok(()));
        check(
            |a| a.metadata = entry("k".into(), long(513)),
            Err("metadata.k has 513"),
        );
        check(
            |a| a.metadata = entry("k".into(), "a\nb".into()),
            Err("metadata.k has a line break"),
        );
        check(
            |a| a.metadata = entry("a\rb".into(), "v".into()),
            Err("a key that has a line break"),
        );
        check(|a| a.destination.kind = "file".into(), Ok(()));
        check(
            |a| a.destination.kind = "pigeon".into(),
            Err("known are session, file"),
        );
        check(
            |a| a.destination.kind = "File".into(),
            Err("destination.kind is no name"),
        );
        check(
            |a| a.destination.address = String::new(),
            Err("destination.address is blank"),
        );
        check(
            |a| a.destination.address = "a\nb".into(),
            Err("destination.address has a line"),
        );
        check(
            |a| a.attribution = Some(long(161)),
            Err("attribution has 161"),
        );
        check(|a| a.subject = subject("u"), Ok(()));
        check(|a| a.subject = subject(""), Err("a user that is blank"));
        check(
            |a| {
                a.subject = subject("u");
                a.destination.kind = "file".into();
            },
            Err("subject is allowed"),
        );
        check(
            |a| {
                a.subject = subject("u");
                a.visibility = Visibility::Public;
            },
            Err("subject is allowed"),
        );
    }

    #[test]
    fn unknown_fields_are_refused_with_a_binding_among_them() {
        let text = r#"{"ticket":1,"idempotency_key":"k","destination":{"kind":"file","address":"a","thread":"t"},"input":"i"}"#;
        assert!(serde_json::from_str::<AgentDispatch>(text).is_err());
        let text = r#"{"user":"u","binding":"mine"}"#;
        assert!(serde_json::from_str::<Subject>(text).is_err());
    }

    #[test]
    fn ids_tell_plugins_and_keys_apart() {
        let name = |text| PluginName::new(text).expect("a name");
        assert_eq!(run_id(&name("a"), "k"), run_id(&name("a"), "k"));
        let ids = [
            run_id(&name("a"), "k"),
            run_id(&name("b"), "k"),
            run_id(&name("a"), "l"),
            job_id(&name("a"), "k", ""),
            job_id(&name("a"), "", "k"),
        ];
        let n = ids.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!((n, ids[0].len()), (5, 36));
    }

    #[test]
    fn a_job_has_rules_too() {
        let plugin = PluginName::new("p").expect("a name");
        let job = |name: &str, n: Option<u32>| JobEnqueue {
            name: name.into(),
            params: kodex_plugin::Json::null(),
            key: None,
            delay_ms: 0,
            priority: JobPriority::Normal,
            lane: None,
            max_attempts: n,
        };
        for (asked, good) in [
            (job("reindex", None), true),
            (job("reindex", Some(100)), true),
            (job("reindex", Some(0)), false),
            (job("reindex", Some(101)), false),
            (job("", None), false),
            (job("Re index", None), false),
        ] {
            assert_eq!(job_request(&plugin, &asked).is_ok(), good, "{asked:?}");
        }
    }
}
