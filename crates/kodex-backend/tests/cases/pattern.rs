//! Comparing what the subject said with the pattern of a step.

use std::collections::HashMap;

use serde_json::Value;

/// The ids that the subject chose, by the number of the call in the case.
pub(crate) type Ids = HashMap<String, Value>;

/// Compares; an id that is met for the first time is learned.
pub(crate) fn matches(pattern: &Value, got: &Value, ids: &mut Ids) -> Result<(), String> {
    let differs = || Err(format!("wanted {pattern}, got {got}"));
    match (pattern, got) {
        (Value::String(word), _) if word.starts_with('<') => match word.as_str() {
            "<any>" => Ok(()),
            "<any string>" if got.is_string() => Ok(()),
            "<any number>" if got.is_number() => Ok(()),
            "<any object>" if got.is_object() => Ok(()),
            id if id.starts_with("<id ") => match ids.get(id) {
                Some(known) if known == got => Ok(()),
                Some(_) => differs(),
                None => {
                    ids.insert(id.to_owned(), got.clone());
                    Ok(())
                }
            },
            _ => differs(),
        },
        (Value::Object(wanted), Value::Object(have)) => {
            let more = wanted.contains_key("<more>");
            for (key, pattern) in wanted.iter().filter(|(key, _)| *key != "<more>") {
                match have.get(key) {
                    Some(value) if pattern == "<optional string>" && value.is_string() => {}
                    Some(value) => matches(pattern, value, ids)?,
                    None if pattern == "<optional string>" => {}
                    None => return Err(format!("{key:?} is missing in {got}")),
                }
            }
            match have.keys().find(|key| !wanted.contains_key(*key) && !more) {
                Some(key) => Err(format!("{key:?} is too much in {got}")),
                None => Ok(()),
            }
        }
        (Value::Array(wanted), Value::Array(have)) if wanted.len() == have.len() => wanted
            .iter()
            .zip(have)
            .try_for_each(|(pattern, value)| matches(pattern, value, ids)),
        _ if pattern == got => Ok(()),
        _ => differs(),
    }
}
