//! Opening a store: reading its place, looking at the server once, making the core schema.
//!
//! Two nodes may open the same fresh database at once; whoever comes second finds it made or tries
//! again. A database that Kodex has for itself is closed to the public as it is made.

use std::{str::FromStr, time::Duration};

use tokio_postgres::Config;

use super::{
    error,
    pool::{Arg, Line, Lines, Trouble},
    queue,
    roles::hex,
    tls,
};
use crate::{Place, StoreError};

/// The newest format of the core schema.
pub(super) const FORMAT: u32 = 3;
/// Those before it. The step from each is what it lacks of the tables.
const OLDER: &[&str] = &["1", "2"];
/// The oldest server: what every provider still runs.
const OLDEST: i32 = 130_000;
/// How often a change of the core schema is tried again after running into another node.
const N_TRIES: u32 = 10;
const CONNECT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE SCHEMA IF NOT EXISTS kodex;
    CREATE TABLE IF NOT EXISTS kodex.meta (
        name text PRIMARY KEY,
        value text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS kodex.plugins (
        plugin text COLLATE \"C\" PRIMARY KEY,
        namespace text NOT NULL UNIQUE,
        roles text
    );
    CREATE TABLE IF NOT EXISTS kodex.state (
        plugin text COLLATE \"C\" NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        value text NOT NULL,
        version bigint NOT NULL,
        expires_at_ms bigint,
        PRIMARY KEY (plugin, key)
    );
    CREATE INDEX IF NOT EXISTS state_expiry ON kodex.state (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
    CREATE TABLE IF NOT EXISTS kodex.leases (
        plugin text COLLATE \"C\" NOT NULL,
        key text COLLATE \"C\" NOT NULL,
        token bigint NOT NULL,
        until_ms bigint NOT NULL,
        PRIMARY KEY (plugin, key)
    );
    CREATE TABLE IF NOT EXISTS kodex.counters (
        plugin text COLLATE \"C\" PRIMARY KEY,
        n_keys bigint NOT NULL,
        n_counts bigint NOT NULL DEFAULT 0
    );
    CREATE SEQUENCE IF NOT EXISTS kodex.versions";

/// Before format 3 every plugin's row counted its versions. The row may lack the column, so it is read as a whole.
const VERSIONS: &str = "
    SELECT setval('kodex.versions', greatest(nextval('kodex.versions'), old.last))
    FROM (SELECT max((to_jsonb(c) ->> 'last_version')::bigint) AS last FROM kodex.counters c) old
    WHERE old.last IS NOT NULL;
    ALTER TABLE kodex.counters DROP COLUMN IF EXISTS last_version;
    ALTER TABLE kodex.counters ADD COLUMN IF NOT EXISTS n_counts bigint NOT NULL DEFAULT 0";

/// What keeps a plugin from leaving files or tables outside its schema; each is tried on its own.
const CLOSE_TO_PUBLIC: &[&str] = &[
    "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid),
     pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC",
];

/// What is read from the place.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) shown: String,
    pub(super) tls: tls::Connect,
}

/// Reads the place. No message repeats a password.
pub(super) fn address(url: &str) -> Result<Address, StoreError> {
    let place = Place::parse(url)?;
    let shown = place.to_string();
    let bad = |problem: String| StoreError::BadPlace {
        place: shown.clone(),
        problem,
    };
    if !matches!(place, Place::Postgres(_)) {
        return Err(bad("it does not begin with `postgres://`".to_owned()));
    }
    let (rest, wanted) = tls::take(url).map_err(bad)?;
    // The parser's words name the option, but also repeat values that it cannot read.
    let mut config = Config::from_str(&rest).map_err(|_| {
        bad("it is no connection string; special characters are written as %XX".to_owned())
    })?;
    config.ssl_mode(wanted.mode.of_driver());
    let tls = tls::connect(&wanted).map_err(|problem| StoreError::Unsupported {
        place: shown.clone(),
        problem,
    })?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    if config.get_application_name().is_none() {
        config.application_name("kodex");
    }
    Ok(Address { config, shown, tls })
}

/// What the server is and what the store's own role may do there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) version: i32,
    pub(super) words: String,
    pub(super) encoding: String,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) may_make_roles: bool,
    /// Whether steps can run inside a block, from which no transaction can be ended. CockroachDB has the
    /// language, but no statement in it that is made as it runs.
    pub(super) has_blocks: bool,
}

impl Server {
    /// Asks once.
    pub(super) async fn look(line: &mut Line) -> Result<Self, Trouble> {
        let rows = line
            .rows(
                "SELECT current_setting('server_version_num')::bigint, version()::text,
                        current_setting('server_encoding')::text, current_database()::text, CURRENT_USER::text,
                        r.rolsuper OR r.rolcreaterole,
                        version() LIKE 'PostgreSQL %'
                            AND EXISTS (SELECT 1 FROM pg_catalog.pg_language WHERE lanname = 'plpgsql')
                 FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER",
                &[],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Err(Trouble::Late);
        };
        let number: i64 = row.get(0);
        Ok(Self {
            version: i32::try_from(number).unwrap_or(0),
            words: row.get(1),
            encoding: row.get(2),
            database: row.get(3),
            user: row.get(4),
            may_make_roles: row.get(5),
            has_blocks: row.get(6),
        })
    }

    /// Whether a store can be here.
    pub(super) fn judge(&self, place: &str, with_roles: bool) -> Result<(), StoreError> {
        let problem = if self.version < OLDEST {
            let words: Vec<&str> = self.words.split(' ').take(2).collect();
            format!(
                "the server is {}; version 13 is the oldest that Kodex works with",
                words.join(" ")
            )
        } else if !self.encoding.eq_ignore_ascii_case("utf8") {
            format!(
                "the database's encoding is {}; make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
                self.encoding
            )
        } else if with_roles && !self.may_make_roles {
            format!(
                "its role cannot make a role for each plugin; as an administrator: ALTER ROLE \"{}\" CREATEROLE; \
                 or open the store with isolation = \"schema\", which keeps trusted plugins apart and no others",
                self.user
            )
        } else {
            return Ok(());
        };
        Err(StoreError::Unsupported {
            place: place.to_owned(),
            problem,
        })
    }
}

/// What the core schema says about the store.
pub(super) struct Seal {
    /// From which the passwords of roles are derived.
    pub(super) secret: String,
    /// Part of the names of roles.
    pub(super) tag: String,
}

/// Reads the core schema, making or upgrading it first where needed.
pub(super) async fn seal(lines: &Lines, place: &str, server: &Server) -> Result<Seal, StoreError> {
    let mut line = line(lines, place).await?;
    let exists = line
        .rows("SELECT to_regclass('kodex.meta') IS NOT NULL", &[])
        .await
        .map_err(|trouble| error::own(place, trouble, "looking for the core schema"))?;
    if exists.first().is_some_and(|row| row.get(0))
        && let Some(seal) = read(&mut line, place).await?
    {
        return Ok(seal);
    }
    drop(line);
    let mut tries = Tries::default();
    loop {
        let mut line = self::line(lines, place).await?;
        let made = make(&mut line, server).await;
        drop(line);
        let Err(trouble) = made else { break };
        let tried = tries.again(trouble, place, "making the core schema").await;
        tried.map_err(|error| grant(error, server))?;
    }
    let mut line = self::line(lines, place).await?;
    read(&mut line, place)
        .await?
        .ok_or_else(|| StoreError::Damaged {
            what: format!("the store at {place}"),
            problem: "the table kodex.meta lacks rows".to_owned(),
        })
}

pub(super) async fn line(lines: &Lines, place: &str) -> Result<Line, StoreError> {
    lines
        .line(None)
        .await
        .map_err(|none| error::no_line(place, none, "the store"))
}

/// How often a change of the core schema has run into another node.
#[derive(Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// Waits a moment if the change may be tried again, and fails if not. The caller has given its
    /// connection back.
    pub(super) async fn again(
        &mut self,
        trouble: Trouble,
        place: &str,
        during: &'static str,
    ) -> Result<(), StoreError> {
        if !is_collision(trouble.code()) || self.0 == N_TRIES {
            return Err(error::own(place, trouble, during));
        }
        self.0 += 1;
        // The other node needs a moment to commit; every further look waits longer.
        tokio::time::sleep(Duration::from_millis(5) * self.0 * self.0).await;
        Ok(())
    }
}

/// Serialisation, deadlock, and the ways in which two `CREATE`s meet: the catalogs have no `IF NOT EXISTS`
/// that sees what another transaction has not committed.
fn is_collision(code: &str) -> bool {
    matches!(
        code,
        "40001" | "40P01" | "23505" | "42P06" | "42P07" | "42710" | "XX000"
    )
}

async fn make(line: &mut Line, server: &Server) -> Result<(), Trouble> {
    line.begin().await?;
    let alone = line
        .rows(
            "SELECT NOT EXISTS (
                 SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'kodex'))",
            &[],
        )
        .await?;
    line.batch(SCHEMA).await?;
    line.batch(VERSIONS).await?;
    line.batch(queue::SCHEMA).await?;
    let secret = random();
    let tag = random()[..8].to_owned();
    for (name, value) in [
        ("format", FORMAT.to_string()),
        ("secret", secret),
        ("tag", tag),
    ] {
        line.rows(
            "INSERT INTO kodex.meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            &[Arg::Text(name), Arg::Text(&value)],
        )
        .await?;
    }
    line.rows(
        "UPDATE kodex.meta SET value = $1 WHERE name = 'format' AND value = ANY ($2)",
        &[Arg::Text(&FORMAT.to_string()), Arg::Texts(OLDER)],
    )
    .await?;
    if alone.first().is_some_and(|row| row.get(0)) {
        close_to_public(line, server).await?;
    }
    line.commit().await
}

async fn close_to_public(line: &mut Line, server: &Server) -> Result<(), Trouble> {
    let database = super::roles::quoted(&server.database);
    for statement in CLOSE_TO_PUBLIC {
        line.batch("SAVEPOINT kodex_public").await?;
        let done = line
            .batch(&statement.replace("{database}", &database))
            .await;
        let end = match done {
            Ok(()) => "RELEASE SAVEPOINT kodex_public",
            // Whoever owns the schema or the database has to do it; `check` says so.
            Err(Trouble::Server(error)) if error.as_db_error().is_some() => {
                "ROLLBACK TO SAVEPOINT kodex_public; RELEASE SAVEPOINT kodex_public"
            }
            Err(trouble) => return Err(trouble),
        };
        line.batch(end).await?;
    }
    Ok(())
}

pub(super) fn random() -> String {
    let mut bytes = [0; 32];
    // Without randomness no password can be made; nothing the store could do instead is safe.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    hex(&bytes)
}

/// Reads the core schema; none when it was not finished or is of an older format.
async fn read(line: &mut Line, place: &str) -> Result<Option<Seal>, StoreError> {
    let rows = line
        .rows("SELECT name, value FROM kodex.meta", &[])
        .await
        .map_err(|trouble| error::own(place, trouble, "reading the core schema"))?;
    let find = |name: &str| {
        let row = rows.iter().find(|row| row.get::<_, String>(0) == name);
        row.map(|row| row.get::<_, String>(1))
    };
    let Some(format) = find("format") else {
        return Ok(None);
    };
    let found: u32 = format.parse().map_err(|_| StoreError::Damaged {
        what: format!("the store at {place}"),
        problem: "the format in kodex.meta is no number".to_owned(),
    })?;
    if found > FORMAT {
        return Err(StoreError::Newer {
            place: place.to_owned(),
            found,
            known: FORMAT,
        });
    }
    if found < FORMAT {
        return Ok(None);
    }
    Ok(find("secret")
        .zip(find("tag"))
        .map(|(secret, tag)| Seal { secret, tag }))
}

/// A missing right is said with the statement that gives it.
fn grant(error: StoreError, server: &Server) -> StoreError {
    match error {
        StoreError::Unsupported { place, .. } => StoreError::Unsupported {
            place,
            problem: format!(
                "its role cannot make the schema `kodex`; as an administrator: GRANT CREATE ON DATABASE \"{}\" TO \"{}\"",
                server.database, server.user
            ),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            version: 150_018,
            words: "PostgreSQL 15.18 on x86_64".to_owned(),
            encoding: "UTF8".to_owned(),
            database: "work".to_owned(),
            user: "kodex".to_owned(),
            may_make_roles: true,
            has_blocks: true,
        }
    }

    #[test]
    fn servers_are_judged() {
        let check = |server: Server, with_roles, want: &str| {
            let judged = server.judge("postgres://h/work", with_roles);
            let said = judged.map_err(|error| (error.code(), error.to_string()));
            match (want, said) {
                ("", Ok(())) => {}
                (want, Err((code, text))) => {
                    assert_eq!(code, "store.unsupported");
                    assert!(!want.is_empty() && text.contains(want), "{text}");
                }
                (want, Ok(())) => panic!("expected: {want}"),
            }
        };
        check(server(), true, "");
        let old = Server {
            version: 120_022,
            words: "PostgreSQL 12.22 on x86_64".to_owned(),
            ..server()
        };
        check(
            old,
            true,
            "the server is PostgreSQL 12.22; version 13 is the oldest",
        );
        let latin = Server {
            encoding: "LATIN1".to_owned(),
            ..server()
        };
        check(latin, true, "encoding is LATIN1");
        let plain = Server {
            may_make_roles: false,
            ..server()
        };
        check(plain.clone(), true, "ALTER ROLE \"kodex\" CREATEROLE");
        check(plain, false, "");
    }

    #[test]
    fn places_are_read_without_their_password() {
        for (url, code) in [
            ("postgres://u:secret@h/db", ""),
            ("postgres://u:secret@h/db?sslmode=prefer", ""),
            (
                "postgres://u:secret@h/db?sslmode=verify-full&sslrootcert=/nowhere/ca.crt",
                "store.unsupported",
            ),
            ("postgres://u:secret@h/db?sslmode=always", "store.place"),
            ("postgres://u:secret@h:port/db", "store.place"),
            ("sqlite:secret", "store.place"),
        ] {
            match address(url) {
                Ok(_) => assert_eq!(code, "", "{url}"),
                Err(error) => {
                    assert_eq!(error.code(), code, "{url}");
                    assert!(
                        url.starts_with("sqlite") || !error.to_string().contains("secret"),
                        "{error}"
                    );
                }
            }
        }
    }
}
