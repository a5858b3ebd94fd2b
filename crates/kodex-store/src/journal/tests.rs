//! The rules of a folder, and the plan against an oracle.

use std::{collections::BTreeMap, fs};

use kodex_plugin::PluginName;
use proptest::prelude::*;

use super::*;
use crate::Engine;

fn notes() -> PluginName {
    PluginName::new("notes").expect("a good name")
}

/// The steps as `file:kind`, or the codes of the problems with their files.
fn check(files: &[(&str, &str)], engine: Engine) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in files {
        match file.strip_suffix('/') {
            Some(name) => fs::create_dir(folder.path().join(name)).expect("a folder inside"),
            None => fs::write(folder.path().join(file), text).expect("a file"),
        }
    }
    let text: String = match read(&notes(), folder.path(), engine) {
        Ok(steps) => steps
            .iter()
            .map(|step| format!("{}:{:?} ", step.file, step.kind))
            .collect(),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{} {}; ", problem.code(), problem.files.join(",")))
            .collect(),
    };
    text.trim_end().to_owned()
}

#[test]
fn a_folder_is_read_by_its_rules() {
    const SQL: &str = "SELECT 1;";
    for (files, sqlite, postgres) in [
        (&[][..], "", ""),
        (
            &[("0002_b.sql", SQL), ("0001_a.sql", SQL)],
            "0001_a.sql:Sql 0002_b.sql:Sql",
            "0001_a.sql:Sql 0002_b.sql:Sql",
        ),
        (
            &[("init.sql", SQL)],
            "journal.name init.sql;",
            "journal.name init.sql;",
        ),
        (
            &[("0001_A.sql", SQL)],
            "journal.name 0001_A.sql;",
            "journal.name 0001_A.sql;",
        ),
        (
            &[("0001_a.mysql.sql", SQL)],
            "journal.name 0001_a.mysql.sql;",
            "journal.name 0001_a.mysql.sql;",
        ),
        (
            &[("0001_a.sql", " ;\n-- nothing\n/* here */")],
            "journal.blank 0001_a.sql;",
            "journal.blank 0001_a.sql;",
        ),
        (
            &[("0001_a.sql", "-- kodex: code\n-- version 2")],
            "0001_a.sql:Code",
            "0001_a.sql:Code",
        ),
        (
            &[("0001_a.sql", "-- kodex: code\nSELECT 1")],
            "journal.code_with_sql 0001_a.sql;",
            "journal.code_with_sql 0001_a.sql;",
        ),
        (
            &[("0001_a.sql", "--kodex: no-transaction\nVACUUM")],
            "0001_a.sql:Bare",
            "0001_a.sql:Bare",
        ),
        (
            &[("0001_a.sql", "-- kodex: fast\nVACUUM")],
            "journal.header 0001_a.sql;",
            "journal.header 0001_a.sql;",
        ),
        (
            &[("0001_a.sql", "SELECT 1; -- x\n-- kodex: fast")],
            "0001_a.sql:Sql",
            "0001_a.sql:Sql",
        ),
        (
            &[("0001_a.sqlite.sql", SQL), ("0001_a.postgres.sql", SQL)],
            "0001_a.sqlite.sql:Sql",
            "0001_a.postgres.sql:Sql",
        ),
        (
            &[("0001_a.sqlite.sql", SQL)],
            "0001_a.sqlite.sql:Sql",
            "journal.no_variant 0001_a.sqlite.sql;",
        ),
        (
            &[("0001_a.sqlite.sql", SQL), ("0001_b.postgres.sql", SQL)],
            "journal.duplicate_number 0001_a.sqlite.sql,0001_b.postgres.sql;",
            "journal.duplicate_number 0001_a.sqlite.sql,0001_b.postgres.sql;",
        ),
        (
            &[("0004_a.sql", SQL), ("0004_b.sql", SQL)],
            "journal.duplicate_number 0004_a.sql,0004_b.sql;",
            "journal.duplicate_number 0004_a.sql,0004_b.sql;",
        ),
        (
            &[
                ("old.sql/", ""),
                ("meta/", ""),
                ("README.md", "x"),
                ("0001_a.sql", SQL),
            ],
            "0001_a.sql:Sql",
            "0001_a.sql:Sql",
        ),
    ] {
        assert_eq!(check(files, Engine::Sqlite), sqlite, "{files:?}");
        assert_eq!(check(files, Engine::Postgres), postgres, "{files:?}");
    }
}

#[test]
fn a_folder_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("migrations");
    assert_eq!(read(&notes(), &path, Engine::Sqlite), Ok(Vec::new()));
    fs::write(&path, "x").expect("a file");
    let problems = read(&notes(), &path, Engine::Sqlite).expect_err("a file is no folder");
    assert_eq!(problems[0].code(), "journal.no_folder");
    assert!(
        problems[0].to_string().contains("plugin notes"),
        "{}",
        problems[0]
    );
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder");
    fs::write(path.join("0001_a.sql"), [0xff]).expect("a file");
    assert_eq!(
        read(&notes(), &path, Engine::Sqlite).expect_err("no text")[0].code(),
        "journal.no_text"
    );
}

#[test]
fn linked_files_are_read_by_the_same_rules() {
    let steps = linked(&notes(), &[("0001_a.sql", "SELECT 1;")], Engine::Sqlite).expect("fine");
    assert_eq!(
        (steps[0].id(&notes()).as_str(), steps[0].name()),
        ("plugin:notes/0001_a.sql", "0001_a")
    );
    assert_eq!(steps[0].checksum.len(), 64);
    assert!(linked(&notes(), &[("a.sql", "SELECT 1;")], Engine::Sqlite).is_err());
}

#[test]
fn a_changed_checksum_names_the_rule_of_exact_bytes() {
    let steps = linked(&notes(), &[("0001_a.sql", "SELECT 1;\r\n")], Engine::Sqlite).expect("fine");
    let applied = [Applied {
        id: "plugin:notes/0001_a.sql".into(),
        checksum: checksum(b"SELECT 1;\n"),
        applied_at_ms: 0,
    }];
    let text = plan(&notes(), &steps, &applied).expect_err("changed")[0].to_string();
    assert!(
        text.contains("plugin:notes/0001_a.sql")
            && text.contains("exact bytes")
            && text.contains("line ends"),
        "{text}"
    );
}

/// The rules again, one by one and slowly.
fn oracle(
    files: &BTreeMap<u16, u8>,
    ledger: &BTreeMap<u16, u8>,
) -> Result<Vec<u16>, Vec<(&'static str, u16)>> {
    let mut problems = Vec::new();
    for (number, version) in files {
        match ledger.get(number) {
            Some(applied) if applied != version => problems.push(("journal.changed", *number)),
            None if ledger.keys().any(|applied| applied > number) => {
                problems.push(("journal.out_of_order", *number))
            }
            _ => {}
        }
    }
    let gone = ledger.keys().filter(|number| !files.contains_key(number));
    problems.extend(gone.map(|number| ("journal.vanished", *number)));
    if problems.is_empty() {
        Ok(files
            .keys()
            .filter(|number| !ledger.contains_key(number))
            .copied()
            .collect())
    } else {
        Err(problems)
    }
}

proptest! {
    #[test]
    fn the_plan_is_that_of_the_oracle(
        files in prop::collection::btree_map(0u16..8, 0u8..2, 0..6),
        ledger in prop::collection::btree_map(0u16..8, 0u8..2, 0..6),
        turn in 0usize..6,
    ) {
        let name = |number: &u16| format!("{number:04}_step.sql");
        let text = |version: &u8| format!("SELECT {version};");
        let texts: Vec<_> = files.iter().map(|(number, version)| (name(number), text(version))).collect();
        let pairs: Vec<_> = texts.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        let steps = linked(&notes(), &pairs, Engine::Sqlite).expect("good files");
        let mut applied: Vec<_> = ledger.iter().map(|(number, version)| Applied {
            id: format!("plugin:notes/{}", name(number)),
            checksum: checksum(text(version).as_bytes()),
            applied_at_ms: 0,
        }).collect();
        // The ledger's order is nobody's promise.
        if !applied.is_empty() {
            let turn = turn % applied.len();
            applied.rotate_left(turn);
        }
        let got = match plan(&notes(), &steps, &applied) {
            Ok(plan) => {
                let newest = ledger.keys().max().map(|number| format!("plugin:notes/{}", name(number)));
                prop_assert_eq!(plan.newest, newest);
                prop_assert_eq!(plan.n_applied, ledger.len());
                Ok(plan.pending.iter().map(|step| step.number).collect::<Vec<_>>())
            }
            Err(problems) => Err(problems.iter().map(|problem| {
                let file = problem.files[0].rsplit('/').next().expect("a file");
                (problem.code(), file[..4].parse().expect("a number"))
            }).collect()),
        };
        prop_assert_eq!(got, oracle(&files, &ledger));
    }
}
