//! What keeps plugins apart: a schema each, and login roles that have rights there and nowhere else.
//!
//! | role | for | may |
//! |---|---|---|
//! | `…_o` | `Access::Migrate` | create in the schema; it owns what it creates |
//! | `…_w` | `Access::Write` | read and change rows |
//! | `…_r` | `Access::Read` | read rows |
//! | `…_s` | applying a step | write the ledger, and become the owner; no statement of a plugin runs as it |
//! | `…nobody` | reading before there is anything | nothing |
//!
//! Reading has a role of its own because a transaction that can only read may be talked out of it. The
//! roles log in themselves: a role that a session was merely switched to can be switched back from
//! inside a statement. Their passwords are derived from a secret in the core schema and set as
//! verifiers, so that no password is in a statement or in the server's log.

use hmac::{Hmac, KeyInit as _, Mac as _};
use kodex_plugin::PluginName;
use postgres_protocol::password::scram_sha_256;
use sha2::{Digest as _, Sha256};

use super::pool::{Arg, Line, Trouble};
use crate::Access;

/// Longest identifier of the server, in bytes.
const IDENTIFIER: usize = 63;
/// Most connections of one role, over all nodes; a bound against mistakes.
const N_CONNECTIONS: u32 = 100;
/// Second line behind the store's own timers, for statements whose host is gone.
const SECOND_LINE: &str = "10min";

/// The roles of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Owner,
    Writer,
    Reader,
    Step,
}

impl Part {
    const ALL: [Self; 4] = [Self::Owner, Self::Writer, Self::Reader, Self::Step];

    fn suffix(self) -> &'static str {
        match self {
            Self::Owner => "_o",
            Self::Writer => "_w",
            Self::Reader => "_r",
            Self::Step => "_s",
        }
    }
}

impl From<Access> for Part {
    fn from(access: Access) -> Self {
        match access {
            Access::Migrate => Self::Owner,
            Access::Write => Self::Writer,
            Access::Read => Self::Reader,
        }
    }
}

/// Where a plugin's tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) schema: String,
    /// What the names of its roles begin with; none where the schema alone keeps plugins apart.
    pub(super) roles: Option<String>,
}

impl Home {
    /// The names for a plugin in the store with this tag.
    pub(super) fn of(plugin: &PluginName, tag: Option<&str>) -> Self {
        let word = plugin.as_str().replace('-', "_");
        Self {
            schema: fitting("kodex_p_", &word, 0),
            // Roles belong to the whole server, where another database may hold a store too.
            roles: tag.map(|tag| fitting(&format!("kodex_{tag}_"), &word, 2)),
        }
    }

    pub(super) fn role(&self, part: Part) -> Option<String> {
        Some(format!("{}{}", self.roles.as_ref()?, part.suffix()))
    }

    /// Every role, as it stands in a statement; none where there are no roles.
    pub(super) fn roles(&self) -> Vec<(Part, String)> {
        let role = |part| Some((part, self.role(part)?));
        Part::ALL.into_iter().filter_map(role).collect()
    }
}

/// The role that has no rights, for readers of what is not there yet. Roles of plugins end otherwise.
pub(super) fn nobody(tag: &str) -> String {
    format!("kodex_{tag}_nobody")
}

/// A name that begins with `prefix` and leaves room for `spare` bytes more. A long one ends in a hash.
fn fitting(prefix: &str, word: &str, spare: usize) -> String {
    let room = IDENTIFIER - prefix.len() - spare;
    if word.len() <= room {
        return format!("{prefix}{word}");
    }
    let hash = hex(&Sha256::digest(word)[..6]);
    format!("{prefix}{}_{hash}", &word[..room - hash.len() - 1])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The password of a role.
pub(super) fn password(secret: &str, role: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
    mac.update(b"kodex role\0");
    mac.update(role.as_bytes());
    hex(&mac.finalize().into_bytes())
}

/// Makes a plugin's roles, or repairs them: right password, right settings, right grants. It runs
/// inside a transaction and may be repeated.
pub(super) async fn ensure(line: &mut Line, home: &Home, secret: &str) -> Result<(), Trouble> {
    let schema = quoted(&home.schema);
    let mut names = Vec::with_capacity(4);
    for (part, role) in home.roles() {
        login(line, &role, Some(&schema), secret, Some(part)).await?;
        names.push(quoted(&role));
    }
    let [owner, writer, reader, step] = names.as_slice() else {
        return Ok(());
    };
    // Being a member lets the host say what the owner's new tables grant.
    line.batch(&format!(
        "GRANT {owner} TO CURRENT_USER;
         GRANT {owner} TO {step};
         GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner};
         GRANT USAGE ON SCHEMA {schema} TO {writer}, {reader}, {step};
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writer};
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO {writer};
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};
         ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT SELECT ON SEQUENCES TO {reader};
         GRANT SELECT, INSERT ON {schema}.kodex_journal TO {step}"
    ))
    .await
}

/// Makes the role that has no rights.
pub(super) async fn ensure_nobody(
    line: &mut Line,
    role: &str,
    secret: &str,
) -> Result<(), Trouble> {
    line.begin().await?;
    login(line, role, None, secret, None).await?;
    line.commit().await
}

async fn login(
    line: &mut Line,
    role: &str,
    schema: Option<&str>,
    secret: &str,
    part: Option<Part>,
) -> Result<(), Trouble> {
    let known = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1";
    let known = line.rows(known, &[Arg::Text(role)]).await?;
    let verb = if known.is_empty() { "CREATE" } else { "ALTER" };
    let verifier = scram_sha_256(password(secret, role).as_bytes());
    let role = quoted(role);
    let schema = schema.unwrap_or("pg_catalog");
    let mut sql = format!(
        "{verb} ROLE {role} LOGIN CONNECTION LIMIT {N_CONNECTIONS} PASSWORD '{verifier}';
         ALTER ROLE {role} RESET ALL;
         ALTER ROLE {role} SET search_path = {schema};"
    );
    // A step takes as long as its tables are large.
    if !matches!(part, Some(Part::Owner | Part::Step)) {
        sql += &format!(
            "ALTER ROLE {role} SET statement_timeout = '{SECOND_LINE}';
             ALTER ROLE {role} SET idle_in_transaction_session_timeout = '{SECOND_LINE}';"
        );
    }
    line.batch(&sql).await
}

/// Gives the owner role what was made while the schema alone kept plugins apart.
pub(super) async fn hand_over(line: &mut Line, home: &Home) -> Result<(), Trouble> {
    let (Some(owner), Some(writer), Some(reader)) = (
        home.role(Part::Owner),
        home.role(Part::Writer),
        home.role(Part::Reader),
    ) else {
        return Ok(());
    };
    let found = line
        .rows(
            "SELECT c.relname, c.relkind::text FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
             WHERE n.nspname = $1 AND r.rolname = CURRENT_USER AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
               AND c.relname NOT IN ('kodex_journal', 'kodex_progress')
               AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                               WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND c.relkind = 'S')",
            &[Arg::Text(&home.schema)],
        )
        .await?;
    let (owner, writer, reader) = (quoted(&owner), quoted(&writer), quoted(&reader));
    for row in found {
        let (name, kind): (String, String) = (row.get(0), row.get(1));
        let name = format!("{}.{}", quoted(&home.schema), quoted(&name));
        let (word, rights) = match kind.as_str() {
            "v" => ("VIEW", "SELECT, INSERT, UPDATE, DELETE"),
            "m" => ("MATERIALIZED VIEW", "SELECT"),
            "S" => ("SEQUENCE", "USAGE, SELECT, UPDATE"),
            _ => ("TABLE", "SELECT, INSERT, UPDATE, DELETE"),
        };
        let on = if word == "SEQUENCE" {
            "SEQUENCE"
        } else {
            "TABLE"
        };
        line.batch(&format!(
            "GRANT {rights} ON {on} {name} TO {writer}; GRANT SELECT ON {on} {name} TO {reader};
             ALTER {word} {name} OWNER TO {owner}"
        ))
        .await?;
    }
    Ok(())
}

/// An identifier as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_do_not_collide() {
        let home = |name: &str| Home::of(&PluginName::new(name).expect("a name"), Some("0123abcd"));
        let notes = home("my-notes");
        assert_eq!(notes.schema, "kodex_p_my_notes");
        assert_eq!(
            notes.role(Part::Writer).as_deref(),
            Some("kodex_0123abcd_my_notes_w")
        );
        let long = "a".repeat(64);
        let other = format!("{}b", "a".repeat(63));
        for part in Part::ALL {
            let (one, two) = (home(&long).role(part), home(&other).role(part));
            assert_ne!(one, two);
            assert!(one.is_some_and(|role| role.len() <= IDENTIFIER));
        }
        assert_ne!(home(&long).schema, home(&other).schema);
        assert!(home(&long).schema.len() <= IDENTIFIER);
    }

    #[test]
    fn passwords_differ_by_role_and_secret() {
        let all = [password("a", "x"), password("a", "y"), password("b", "x")];
        assert!(all.iter().all(|one| one.len() == 64));
        assert!(all[0] != all[1] && all[0] != all[2]);
        assert_eq!(all[0], password("a", "x"));
    }
}
