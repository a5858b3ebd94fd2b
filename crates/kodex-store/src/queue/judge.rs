//! What no engine may see of jobs, and what is kept of long texts. Pure.

use std::borrow::Cow;

use kodex_plugin::PluginName;
use serde_json::value::RawValue;

use super::*;

/// Refuses what no engine may see.
///
/// # Errors
/// [`StoreError::BadJob`] names the field and the rule.
pub fn check_new(job: &NewJob<'_>) -> Result<(), StoreError> {
    let names = [
        ("id", Some(job.id)),
        ("queue", Some(job.queue)),
        ("name", Some(job.name)),
        ("lane", job.lane),
        ("unique_key", job.unique_key),
    ];
    for (field, text) in names {
        if let Some(text) = text {
            check_name(job.plugin, field, text)?;
        }
    }
    check_payload(job.plugin, "payload", job.payload)?;
    if job.max_attempts == 0 {
        return Err(bad(job.plugin, "max_attempts", "is 0".to_owned()));
    }
    Ok(())
}

fn check_name(plugin: &PluginName, field: &'static str, text: &str) -> Result<(), StoreError> {
    let problem = if text.trim().is_empty() {
        "is blank".to_owned()
    } else if text.chars().count() > NAME_CHARS {
        format!("is longer than {NAME_CHARS} characters")
    } else if text.contains('\0') {
        "holds a NUL character".to_owned()
    } else {
        return Ok(());
    };
    Err(bad(plugin, field, problem))
}

/// Refuses payloads, checkpoints and results that are too large.
///
/// # Errors
/// As [`check_new`].
pub fn check_payload(
    plugin: &PluginName,
    field: &'static str,
    payload: &RawValue,
) -> Result<(), StoreError> {
    let bytes = payload.get().len();
    if bytes > PAYLOAD_BYTES {
        let problem = format!("has {bytes} bytes; at most {PAYLOAD_BYTES} are kept");
        return Err(bad(plugin, field, problem));
    }
    if has_nul(payload.get()) {
        return Err(bad(plugin, field, "holds a NUL character".to_owned()));
    }
    Ok(())
}

/// Whether a JSON text holds the character NUL: its escape, and not the words of a text that speaks of it.
fn has_nul(json: &str) -> bool {
    let is_escape = |(at, _): (usize, &str)| {
        let before = json.as_bytes()[..at].iter().rev();
        before.take_while(|byte| **byte == b'\\').count() % 2 == 0
    };
    json.match_indices("\\u0000").any(is_escape)
}

/// Refuses keys of effects that no engine may see.
///
/// # Errors
/// As [`check_new`].
pub fn check_effect(plugin: &PluginName, key: &str, value: &RawValue) -> Result<(), StoreError> {
    check_name(plugin, "effect's key", key)?;
    check_payload(plugin, "effect's value", value)
}

/// Refuses more jobs in one call than are allowed.
///
/// # Errors
/// As [`check_new`].
pub fn check_many(jobs: &[NewJob<'_>]) -> Result<(), StoreError> {
    match jobs.get(N_TOGETHER) {
        None => jobs.iter().try_for_each(check_new),
        Some(job) => Err(bad(
            job.plugin,
            "place in the call",
            format!("comes after {N_TOGETHER} others; add them in several calls"),
        )),
    }
}

/// A lease's length as it is given.
#[must_use]
pub fn lease_of(lease_ms: u64) -> u64 {
    lease_ms.clamp(*LEASE_MS.start(), *LEASE_MS.end())
}

/// A reason's text as it is kept: cut at [`REASON_CHARS`], and without NUL characters, which Postgres has not.
#[must_use]
pub fn kept_reason(text: &str) -> Cow<'_, str> {
    let end = text
        .char_indices()
        .nth(REASON_CHARS)
        .map_or(text.len(), |(at, _)| at);
    legible(&text[..end])
}

/// A line of a log as it is kept: cut at [`LINE_BYTES`], and without NUL characters.
#[must_use]
pub fn kept_line(text: &str) -> Cow<'_, str> {
    legible(&text[..text.floor_char_boundary(LINE_BYTES)])
}

/// NUL gives way to a character of the same length, so that a cut text stays within its bytes.
fn legible(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "?"))
    } else {
        Cow::Borrowed(text)
    }
}

/// What cannot be true of a job, whoever wrote it.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn problem(job: &Job) -> Option<&'static str> {
    let is_held = job.holder.is_some() && job.until_ms.is_some();
    let is_free = job.holder.is_none() && job.until_ms.is_none() && !job.cancel;
    match job.state {
        JobState::Running if !is_held => Some("it runs, and nobody holds it"),
        JobState::Running if job.token == 0 => Some("it runs under a token that was never given"),
        JobState::Running => None,
        _ if !is_free => Some("it does not run, and somebody holds it"),
        JobState::Pending => None,
        _ if job.ended_at_ms.is_none() => Some("it ended at no time"),
        _ => None,
    }
}

fn bad(plugin: &PluginName, field: &'static str, problem: String) -> StoreError {
    StoreError::BadJob {
        plugin: plugin.clone(),
        field,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::has_nul;

    #[test]
    fn a_text_that_speaks_of_nul_has_none() {
        for (json, want) in [
            (r#""plain""#, false),
            (r#""\u0000""#, true),
            (r#""a\\u0000""#, false),
            (r#""a\\\u0000""#, true),
            (r#""\\u0000 and \u0000""#, true),
            (r#"{"\u0000": 1}"#, true),
            (r#""u0000""#, false),
        ] {
            assert_eq!(has_nul(json), want, "{json}");
        }
    }
}
