//! Values in a form that is the same whichever engine they come from, and a digest over them.
//!
//! SQLite has no dates, no exact decimals and no truth values, so the type of the target's column
//! decides how a value is read on both sides.

use kodex_store::{Table, Value};
use serde_json::Value as Tree;
use sha2::{Digest as _, Sha256};

/// A digest over rows that does not depend on their order: the sum of the rows' own digests.
pub(super) struct Digest<'a> {
    table: &'a Table,
    n_rows: u64,
    sum: [u64; 4],
}

impl<'a> Digest<'a> {
    /// `table` says how values are read.
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            n_rows: 0,
            sum: [0; 4],
        }
    }

    pub(super) fn add(&mut self, row: &[Value]) {
        let mut hasher = Sha256::new();
        for (value, column) in row.iter().zip(&self.table.columns) {
            let text = canonical(value, &column.kind);
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        let digest = hasher.finalize();
        for (sum, part) in self.sum.iter_mut().zip(digest.chunks_exact(8)) {
            let part = part.try_into().map_or(0, u64::from_le_bytes);
            *sum = sum.wrapping_add(part);
        }
        self.n_rows += 1;
    }

    pub(super) fn end(self) -> (u64, String) {
        let digest = self.sum.iter().map(|part| format!("{part:016x}")).collect();
        (self.n_rows, digest)
    }
}

fn canonical(value: &Value, kind: &str) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => number(&i32::from(*truth).to_string()),
        Value::Integer(whole) => number(&whole.to_string()),
        Value::Float(float) if is_single(kind) => number(&(*float as f32).to_string()),
        Value::Float(float) => number(&float.to_string()),
        Value::Numeric(text) => number(text),
        Value::Bytes(bytes) => bytes
            .iter()
            .fold("b:".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        Value::Json(tree) => json(tree),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| canonical(item, "")).collect();
            format!("[{}]", items.join(","))
        }
        Value::Text(text) if is_number(kind) => number(text),
        Value::Text(text) if is_json(kind) => {
            serde_json::from_str(text).map_or_else(|_| text.clone(), |tree| json(&tree))
        }
        Value::Text(text) if kind.starts_with("timestamp") => moment(text),
        Value::Text(text) if kind == "bool" || kind == "boolean" => number(match text.as_str() {
            "t" | "true" => "1",
            "f" | "false" => "0",
            other => other,
        }),
        Value::Text(text) => format!("t:{text}"),
        other => format!("?:{other:?}"),
    }
}

fn is_single(kind: &str) -> bool {
    matches!(kind, "float4" | "real")
}

fn is_number(kind: &str) -> bool {
    kind.starts_with("int")
        || kind.starts_with("float")
        || kind.starts_with("numeric")
        || kind.starts_with("decimal")
        || matches!(
            kind,
            "real" | "double" | "double precision" | "smallint" | "bigint"
        )
}

fn is_json(kind: &str) -> bool {
    matches!(kind, "json" | "jsonb")
}

/// A number without leading and trailing zeros and without an exponent where it is short.
fn number(text: &str) -> String {
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let Ok(exponent) = exponent.parse::<i64>() else {
        return format!("n:{sign}{text}");
    };
    if !is_plain(whole) || !is_plain(fraction) {
        return format!("n:{sign}{text}");
    }
    // Digits and where the point stands among them say everything.
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let leading = digits.bytes().take_while(|digit| *digit == b'0').count();
    let digits = digits[leading..].trim_end_matches('0');
    if digits.is_empty() {
        return "n:0".to_owned();
    }
    format!("n:{sign}{digits}@{}", point - leading as i64)
}

/// The same document with its keys in order.
fn json(tree: &Tree) -> String {
    match tree {
        Tree::Object(fields) => {
            let mut keys: Vec<_> = fields.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            let fields: Vec<_> = keys
                .iter()
                .map(|(key, value)| format!("{}:{}", Tree::from(key.as_str()), json(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Tree::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Tree::Number(digits) => number(&digits.to_string()),
        other => other.to_string(),
    }
}

/// Whether two JSON texts say the same.
pub(super) fn same_json(a: &str, b: &str) -> bool {
    a == b
        || matches!((serde_json::from_str::<Tree>(a), serde_json::from_str::<Tree>(b)), (Ok(a), Ok(b)) if json(&a) == json(&b))
}

/// A moment as `date time` in UTC without needless zeros; what is no moment stays as it is.
fn moment(text: &str) -> String {
    let text = text.trim();
    let Some((date, rest)) = text.split_once(['T', ' ']) else {
        return format!("t:{text}");
    };
    let rest = rest
        .strip_suffix('Z')
        .or_else(|| rest.strip_suffix("+00:00"))
        .or_else(|| rest.strip_suffix("+00"))
        .unwrap_or(rest);
    let time = match rest.split_once('.') {
        Some((seconds, fraction)) => match fraction.trim_end_matches('0') {
            "" => seconds.to_owned(),
            fraction => format!("{seconds}.{fraction}"),
        },
        None => rest.to_owned(),
    };
    let time = if time.matches(':').count() == 1 {
        format!("{time}:00")
    } else {
        time
    };
    format!("t:{date} {time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_from_either_engine() {
        for (sqlite, postgres, kind) in [
            (Value::Integer(1), Value::Bool(true), "bool"),
            (
                Value::Text("1.10".into()),
                Value::Numeric("1.1000".into()),
                "numeric",
            ),
            (
                Value::Float(1e21),
                Value::Numeric("1000000000000000000000".into()),
                "numeric",
            ),
            (Value::Integer(3), Value::Float(3.0), "float8"),
            (
                Value::Float(0.1),
                Value::Float(f64::from(0.1_f32)),
                "float4",
            ),
            (
                Value::Text("2026-01-02 03:04".into()),
                Value::Text("2026-01-02T03:04:00Z".into()),
                "timestamptz",
            ),
            (
                Value::Text("2026-01-02T03:04:05.120Z".into()),
                Value::Text("2026-01-02T03:04:05.12+00:00".into()),
                "timestamptz",
            ),
            (
                Value::Text("{\"b\": 1.0, \"a\": []}".into()),
                Value::Json(serde_json::json!({"a": [], "b": 1})),
                "jsonb",
            ),
        ] {
            assert_eq!(
                canonical(&sqlite, kind),
                canonical(&postgres, kind),
                "{kind}"
            );
        }
    }

    #[test]
    fn what_differs_is_seen() {
        for (a, b, kind) in [
            (Value::Null, Value::Text(String::new()), "text"),
            (Value::Text("1".into()), Value::Text("1.0".into()), "text"),
            (Value::Text("null".into()), Value::Null, "text"),
            (Value::Integer(10), Value::Integer(1), "int8"),
            (Value::Integer(-1), Value::Integer(1), "int8"),
            (Value::Float(0.001), Value::Float(0.01), "float8"),
            (Value::Bytes(vec![1]), Value::Bytes(vec![1, 0]), "bytea"),
            (
                Value::Text("2026-01-02 03:04:05+01:00".into()),
                Value::Text("2026-01-02 03:04:05Z".into()),
                "timestamptz",
            ),
        ] {
            assert_ne!(canonical(&a, kind), canonical(&b, kind), "{kind}");
        }
    }
}
