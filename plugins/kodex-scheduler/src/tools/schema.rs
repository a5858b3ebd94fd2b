//! JSON Schemas of the inputs. They say the form; what fields mean beside each other is said by the code,
//! with a path and a rule for each mistake, which a schema cannot do.

use serde_json::{Value, json};

use crate::{
    cadence::{Frequency, Gap},
    task::{CatchUp, Credentials, Overlap, TEXT_CHARS},
};

pub(super) fn empty() -> Value {
    json!({"type": "object", "additionalProperties": false})
}

pub(super) fn by_id() -> Value {
    json!({
        "type": "object",
        "required": ["task_id"],
        "additionalProperties": false,
        "properties": {"task_id": id()},
    })
}

pub(super) fn create() -> Value {
    json!({
        "type": "object",
        "required": ["task", "schedule"],
        "additionalProperties": false,
        "properties": {
            "task": text(),
            "schedule": intent(),
            "catch_up": catch_up(),
            "overlap": overlap(),
            "credential_mode": credentials(),
        },
    })
}

pub(super) fn update() -> Value {
    json!({
        "type": "object",
        "required": ["task_id"],
        "additionalProperties": false,
        "properties": {
            "task_id": id(),
            "task": text(),
            "schedule": intent(),
            "status": {"type": "string", "enum": ["active", "paused"]},
            "catch_up": catch_up(),
            "overlap": overlap(),
            "credential_mode": credentials(),
        },
    })
}

fn id() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 80, "description": "The id of the task, from the list."})
}

fn text() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": TEXT_CHARS,
        "description": "What to do each time, complete in itself: the run knows nothing of this conversation.",
    })
}

fn words<T: Copy>(words: &[(&'static str, T)], description: &str) -> Value {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    json!({"type": "string", "enum": words, "description": description})
}

fn catch_up() -> Value {
    words(
        CatchUp::ALL,
        "Occurrences that were missed: skip_late runs one at most a day late, one runs the latest, all runs each of the last week.",
    )
}

fn overlap() -> Value {
    words(
        Overlap::ALL,
        "Occurrences that come due during a run: skip passes them over, queue runs the latest afterwards, allow runs them beside it.",
    )
}

fn credentials() -> Value {
    words(
        Credentials::ALL,
        "creator lets the runs use the credentials of the person who asks, if they said so themselves.",
    )
}

/// What may be said about when.
fn intent() -> Value {
    let span = json!({
        "type": "object",
        "required": ["value", "unit"],
        "additionalProperties": false,
        "properties": {
            "value": {"type": "integer", "minimum": 1, "maximum": 100_000},
            "unit": {"type": "string", "enum": ["second", "minute", "hour", "day", "week"]},
        },
    });
    let local = json!({
        "type": "object",
        "required": ["date", "time"],
        "additionalProperties": false,
        "properties": {
            "date": {"type": "string", "description": "YYYY-MM-DD"},
            "time": {"type": "string", "description": "HH:MM"},
        },
    });
    json!({
        "type": "object",
        "required": ["kind"],
        "additionalProperties": false,
        "description": "one_off needs timing. recurring needs frequency and time; weekly also weekdays; monthly and quarterly also day_of_month; yearly also month and day_of_month. cron needs expression. interval needs every. Do not compute moments: say what was meant.",
        "properties": {
            "kind": {"type": "string", "enum": ["one_off", "recurring", "cron", "interval"]},
            "timezone": {"type": "string", "maxLength": 80, "description": "IANA name, such as Europe/Paris."},
            "timing": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "after": span,
                    "at": {"anyOf": [local, {"type": "string", "maxLength": 40}]},
                },
            },
            "frequency": words(Frequency::ALL, "How a period is counted."),
            "interval": {"type": "integer", "minimum": 1, "maximum": 365, "description": "Every how many periods."},
            "time": {"type": "string", "description": "HH:MM on the clock of the zone."},
            "weekdays": {
                "type": "array",
                "minItems": 1,
                "maxItems": 7,
                "items": {"type": "string", "enum": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
            },
            "day_of_month": {"type": "integer", "minimum": 1, "maximum": 31, "description": "A month without it is passed over."},
            "month": {"type": "integer", "minimum": 1, "maximum": 12},
            "start_date": {"type": "string", "description": "YYYY-MM-DD: the first possible day."},
            "gap": words(Gap::ALL, "When a clock change leaves the time out: skip the day, or shift to the end of the change."),
            "expression": {"type": "string", "maxLength": 200, "description": "Five fields: minute, hour, day of month, month, day of week."},
            "every": span,
            "start": local,
        },
    })
}
