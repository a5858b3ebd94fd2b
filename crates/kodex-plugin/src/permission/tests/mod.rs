//! The grammar in tables, containment against slow and obvious oracles, and the reference page.

mod acceptance;
mod containment;
mod grammar;
mod oracle;
mod reference;
mod refusals;
mod texts;

use super::Permission;

fn permission(text: &str) -> Permission {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn permissions(texts: &[&str]) -> Vec<Permission> {
    texts.iter().map(|text| permission(text)).collect()
}
