//! What a plugin may ask of runs and jobs: a host's rules over the fields of a wish.

use kodex_plugin::wire::work::{AgentDispatch, Destination, JobEnqueue, Visibility, bounds};

/// The field that breaks a rule, and the rule.
pub(super) type Broken = (String, String);

/// The kinds of places that a run may answer to.
const DESTINATIONS: [&str; 4] = ["session", "file", "webhook", "command"];
const MAX_DELAY_MS: u64 = 10 * 366 * 86_400_000;
const MAX_ATTEMPTS: u32 = 100;

pub(super) fn run(asked: &AgentDispatch) -> Result<(), Broken> {
    let mut rules = vec![
        (
            "idempotency_key".to_owned(),
            text(&asked.idempotency_key, bounds::KEY),
        ),
        ("input".to_owned(), text(&asked.input, bounds::INPUT)),
    ];
    rules.extend(place("destination", &asked.destination, true));
    if let Some(source) = &asked.source {
        rules.extend(place("source", source, false));
    }
    let n = asked.metadata.len();
    let many = format!("has {n} entries; at most {} are kept", bounds::N_METADATA);
    rules.push((
        "metadata".to_owned(),
        (n > bounds::N_METADATA).then_some(many),
    ));
    for (key, value) in &asked.metadata {
        let rule = filled_line(key, bounds::METADATA_KEY);
        let rule = rule.map(|rule| format!("has a key that {rule}"));
        rules.push(("metadata".to_owned(), rule));
        rules.push((
            format!("metadata.{key}"),
            line(value, bounds::METADATA_VALUE),
        ));
    }
    if let Some(attribution) = &asked.attribution {
        let rule = filled_line(attribution, bounds::ATTRIBUTION);
        rules.push(("attribution".to_owned(), rule));
    }
    rules.push(("subject".to_owned(), subject(asked)));
    first(rules)
}

pub(super) fn job(asked: &JobEnqueue) -> Result<(), Broken> {
    let name = asked.name.as_str();
    let has_form = !name.is_empty() && name.len() <= 128 && name.chars().all(is_word);
    let form = "is none: lower-case letters, digits, dots, hyphens and underscores, at most 128";
    let n = asked.max_attempts.unwrap_or(1);
    let count = format!("is out of bounds; 1 to {MAX_ATTEMPTS} are allowed");
    let late = format!("is over {MAX_DELAY_MS}, ten years");
    let given = |said: &Option<String>| said.as_ref().and_then(|said| text(said, bounds::KEY));
    first([
        ("name".to_owned(), (!has_form).then(|| form.to_owned())),
        ("key".to_owned(), given(&asked.key)),
        ("lane".to_owned(), given(&asked.lane)),
        (
            "max_attempts".to_owned(),
            (!(1..=MAX_ATTEMPTS).contains(&n)).then_some(count),
        ),
        (
            "delay_ms".to_owned(),
            (asked.delay_ms > MAX_DELAY_MS).then_some(late),
        ),
    ])
}

fn first(rules: impl IntoIterator<Item = (String, Option<String>)>) -> Result<(), Broken> {
    let mut broken = rules
        .into_iter()
        .filter_map(|(field, rule)| rule.map(|rule| (field, rule)));
    broken.next().map_or(Ok(()), Err)
}

fn is_word(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c)
}

fn place(field: &str, place: &Destination, is_bound: bool) -> [(String, Option<String>); 2] {
    let Destination { kind, address } = place;
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let rule = if kind.is_empty() || kind.len() > 40 || !kind.chars().all(is_word) {
        Some("is no name: lower-case letters, digits and hyphens, at most 40".to_owned())
    } else if is_bound && !DESTINATIONS.contains(&kind.as_str()) {
        let known = DESTINATIONS.join(", ");
        Some(format!("{kind:?} is unknown here; known are {known}"))
    } else {
        None
    };
    [
        (format!("{field}.kind"), rule),
        (
            format!("{field}.address"),
            filled_line(address, bounds::ADDRESS),
        ),
    ]
}

/// A person's credentials are used in a conversation of that person alone and nowhere else.
fn subject(asked: &AgentDispatch) -> Option<String> {
    let subject = asked.subject.as_ref()?;
    if let Some(rule) = filled_line(&subject.user, bounds::ADDRESS) {
        return Some(format!("has a user that {rule}"));
    }
    let task = subject.task.as_ref();
    if let Some(rule) = task.and_then(|task| filled_line(task, bounds::ADDRESS)) {
        return Some(format!("has a task that {rule}"));
    }
    let is_own = asked.destination.kind == "session" && asked.visibility == Visibility::Private;
    (!is_own).then(|| "is allowed for a private destination of kind `session` alone".to_owned())
}

fn text(text: &str, limit: usize) -> Option<String> {
    blank(text).or_else(|| length(text, limit))
}

fn filled_line(text: &str, limit: usize) -> Option<String> {
    blank(text).or_else(|| line(text, limit))
}

fn line(text: &str, limit: usize) -> Option<String> {
    let breaks = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    match text.contains(breaks) {
        true => Some("has a line break".to_owned()),
        false => length(text, limit),
    }
}

fn blank(text: &str) -> Option<String> {
    text.trim().is_empty().then(|| "is blank".to_owned())
}

fn length(text: &str, limit: usize) -> Option<String> {
    if text.contains('\0') {
        return Some("holds a NUL character".to_owned());
    }
    let n = text.chars().count();
    (n > limit).then(|| format!("has {n} characters; at most {limit} are allowed"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is wrong with a wish in which these fields are others.
    fn check(change: Value, want: &str) {
        let place = json!({"kind": "file", "address": "a"});
        let mut asked =
            json!({"ticket": 1, "idempotency_key": "k", "destination": place, "input": "i"});
        for (field, value) in change.as_object().expect("an object") {
            asked[field] = value.clone();
        }
        let asked: AgentDispatch = serde_json::from_value(asked).expect("a wish");
        let got = run(&asked)
            .err()
            .map(|(field, rule)| format!("{field} {rule}"));
        match want {
            "" => assert_eq!(got, None, "{change}"),
            want => assert!(
                got.as_ref().is_some_and(|got| got.starts_with(want)),
                "{want}: {got:?}"
            ),
        }
    }

    #[test]
    fn each_field_has_its_rule() {
        let long = |n: usize| "x".repeat(n);
        let session = json!({"kind": "session", "address": "s"});
        let many = |n: usize| -> Value { (0..n).map(|i| (format!("k{i}"), json!(""))).collect() };
        check(json!({}), "");
        check(json!({"idempotency_key": long(512)}), "");
        check(
            json!({"idempotency_key": long(513)}),
            "idempotency_key has 513",
        );
        check(json!({"idempotency_key": " "}), "idempotency_key is blank");
        check(json!({"input": long(32_000)}), "");
        check(json!({"input": long(32_001)}), "input has 32001");
        check(json!({"input": "a\0"}), "input holds a NUL");
        check(json!({"metadata": many(20)}), "");
        check(json!({"metadata": many(21)}), "metadata has 21 entries");
        check(
            json!({"metadata": {" ": ""}}),
            "metadata has a key that is blank",
        );
        check(
            json!({"metadata": {"k": "a\nb"}}),
            "metadata.k has a line break",
        );
        check(json!({"metadata": {"k": long(513)}}), "metadata.k has 513");
        check(
            json!({"destination": {"kind": "pigeon", "address": "a"}}),
            "destination.kind \"pigeon\" is unknown",
        );
        check(
            json!({"destination": {"kind": "File", "address": "a"}}),
            "destination.kind is no name",
        );
        check(
            json!({"destination": {"kind": "file", "address": ""}}),
            "destination.address is blank",
        );
        check(json!({"source": {"kind": "pigeon", "address": "a"}}), "");
        check(json!({"attribution": long(161)}), "attribution has 161");
        let user = json!({"user": "u"});
        check(json!({"subject": user}), "subject is allowed");
        check(json!({"subject": user, "destination": session}), "");
        check(
            json!({"subject": user, "destination": session, "visibility": "public"}),
            "subject is allowed",
        );
        check(
            json!({"subject": {"user": ""}, "destination": session}),
            "subject has a user that is blank",
        );
    }

    #[test]
    fn a_job_has_rules_too() {
        for (asked, want) in [
            (json!({"name": "session.completed"}), None),
            (json!({"name": ""}), Some("name")),
            (json!({"name": "x".repeat(129)}), Some("name")),
            (json!({"name": "work", "key": " "}), Some("key")),
            (
                json!({"name": "work", "lane": "x".repeat(513)}),
                Some("lane"),
            ),
            (
                json!({"name": "work", "max_attempts": 101}),
                Some("max_attempts"),
            ),
            (json!({"name": "work", "delay_ms": MAX_DELAY_MS}), None),
            (
                json!({"name": "work", "delay_ms": MAX_DELAY_MS + 1}),
                Some("delay_ms"),
            ),
        ] {
            let wish: JobEnqueue = serde_json::from_value(asked.clone()).expect("a wish");
            let field = job(&wish).err().map(|(field, _)| field);
            assert_eq!(field.as_deref(), want, "{asked}");
        }
    }
}
