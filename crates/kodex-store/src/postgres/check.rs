//! Looking at the whole store: are the schemas, roles and ledgers what the store made, and is the
//! database closed where a plugin could leave something behind? The server checks its own files.

use kodex_plugin::PluginName;

use super::{
    Inner, Isolation,
    pool::{Arg, Line, Trouble},
    queue,
    roles::{Home, Part},
    tables,
};
use crate::{Finding, Ledger as _, StoreError};

/// Most findings of one kind; who has more has one problem.
const N_FINDINGS: usize = 20;

pub(super) async fn check(inner: &std::sync::Arc<Inner>) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    let own = |trouble| inner.own(trouble, "checking");
    let ledger = super::PgLedger::new(std::sync::Arc::clone(inner));
    for plugin in tables::plugins(inner).await? {
        let Some(home) = inner.find(&plugin).await? else {
            continue;
        };
        let mut line = inner.line().await?;
        findings.extend(namespace(&mut line, &plugin, &home).await.map_err(own)?);
        drop(line);
        match ledger.applied(&plugin).await {
            Ok(_) => {}
            Err(error @ (StoreError::LedgerMalformed { .. } | StoreError::Internal(_))) => findings
                .push(Finding {
                    code: error.code(),
                    plugin: Some(plugin),
                    message: error.to_string(),
                }),
            Err(error) => return Err(error),
        }
    }
    let mut line = inner.line().await?;
    findings.extend(strays(&mut line).await.map_err(own)?);
    findings.extend(queue::check(&mut line, N_FINDINGS).await.map_err(own)?);
    if inner.options.isolation == Isolation::Roles {
        findings.extend(public(&mut line).await.map_err(own)?);
    }
    Ok(findings)
}

async fn namespace(
    line: &mut Line,
    plugin: &PluginName,
    home: &Home,
) -> Result<Vec<Finding>, Trouble> {
    let mut findings = Vec::new();
    let mut found = |code, message: String| {
        findings.push(Finding {
            code,
            plugin: Some(plugin.clone()),
            message,
        })
    };
    let schema = line
        .rows(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
            &[Arg::Text(&home.schema)],
        )
        .await?;
    if schema.is_empty() {
        found(
            "store.namespace",
            format!(
                "the schema {} is gone; restore the database from a backup",
                home.schema
            ),
        );
    }
    for (part, role) in home.roles() {
        let rows = line
            .rows(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
                     OR EXISTS (SELECT 1 FROM pg_catalog.pg_auth_members m WHERE m.member = r.oid AND NOT $2::boolean)
                 FROM pg_catalog.pg_roles r WHERE rolname = $1",
                &[Arg::Text(&role), Arg::Truth(part == Part::Step)],
            )
            .await?;
        match rows.first().map(|row| row.get::<_, bool>(0)) {
            None => found(
                "store.roles",
                format!(
                    "the role {role} is gone; opening the plugin's database for writing makes it again"
                ),
            ),
            Some(true) => found(
                "store.roles",
                format!(
                    "the role {role} has rights that Kodex did not give it; take away its attributes and memberships"
                ),
            ),
            Some(false) => {}
        }
    }
    Ok(findings)
}

/// Schemas with our prefix that belong to no plugin.
async fn strays(line: &mut Line) -> Result<Vec<Finding>, Trouble> {
    let rows = line
        .rows(
            "SELECT nspname::text FROM pg_catalog.pg_namespace n
             WHERE left(nspname, 8) = 'kodex_p_' AND NOT EXISTS (SELECT 1 FROM kodex.plugins p WHERE p.namespace = n.nspname)
             ORDER BY 1",
            &[],
        )
        .await?;
    let finding = |row: &tokio_postgres::Row| Finding {
        code: "store.namespace",
        plugin: None,
        message: format!(
            "the schema {} belongs to no plugin of this store",
            row.get::<_, String>(0)
        ),
    };
    Ok(rows.iter().map(finding).collect())
}

/// What everybody may do in this database, and so every plugin.
async fn public(line: &mut Line) -> Result<Vec<Finding>, Trouble> {
    let rows = line
        .rows(
            "SELECT has_schema_privilege('public', n.oid, 'CREATE'), has_database_privilege('public', current_database(), 'TEMPORARY')
             FROM (SELECT to_regnamespace('public')::oid AS oid) n",
            &[],
        )
        .await?;
    let may = |index| {
        rows.first()
            .is_some_and(|row| row.get::<_, Option<bool>>(index) == Some(true))
    };
    let finding = |message: &str| Finding {
        code: "store.public",
        plugin: None,
        message: message.to_owned(),
    };
    let mut findings = Vec::new();
    if may(0) {
        findings.push(finding(
            "every role may create tables in the schema `public`; as its owner: REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ));
    }
    if may(1) {
        findings.push(finding(
            "every role may make temporary tables, outside of any quota; as the database's owner: REVOKE TEMPORARY ON DATABASE ... FROM PUBLIC",
        ));
    }
    Ok(findings)
}
