//! The same steps in the form of every tool.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::Result;
use kodex::PluginName;
use serde_json::json;

use crate::{
    programs::{Programs, script, sibling},
    size::Size,
};

/// The plugin whose journal it is.
pub(super) const PLUGIN: &str = "bench-journal";
/// Where the time of a step begins for tools that name steps by time.
const FIRST_MS: u64 = 1_700_000_000_000;

/// A journal of so many steps, in a folder for each tool.
pub(super) struct Journal {
    folder: PathBuf,
    /// What figures are named after.
    pub(super) n_named: usize,
    pub(super) n_steps: usize,
    pub(super) plugin: PluginName,
}

impl Journal {
    pub(super) fn new(programs: &Programs, n_named: usize, size: Size) -> Result<Self> {
        let journal = Self {
            folder: programs.scratch.path().join(format!("journal-{n_named}")),
            n_named,
            n_steps: size.count(n_named),
            plugin: PluginName::new(PLUGIN)?,
        };
        journal.kodex()?;
        journal.others()?;
        Ok(journal)
    }

    /// The folder with the plugin.
    pub(super) fn plugins(&self) -> PathBuf {
        self.folder.join("plugins")
    }

    /// Kodex' steps.
    pub(super) fn migrations(&self) -> PathBuf {
        self.plugins().join(PLUGIN).join("migrations")
    }

    pub(super) fn refinery(&self) -> PathBuf {
        self.folder.join("refinery")
    }

    pub(super) fn dbmate(&self) -> PathBuf {
        self.folder.join("dbmate")
    }

    pub(super) fn alembic(&self) -> PathBuf {
        self.folder.join("alembic")
    }

    pub(super) fn yoyo(&self) -> PathBuf {
        self.folder.join("yoyo")
    }

    pub(super) fn drizzle(&self) -> PathBuf {
        self.folder.join("drizzle")
    }

    fn kodex(&self) -> Result<()> {
        let plugin = self.plugins().join(PLUGIN);
        let bin = plugin.join("bin");
        fs::create_dir_all(&bin)?;
        symlink(sibling("kodex-bench-role")?, bin.join("program"))?;
        let manifest = format!(
            r#"manifest = 1

[plugin]
name = "{PLUGIN}"
version = "1.0.0"
description = "Has a long history."

[run]
kind = "process"
command = ["bin/program", "serve"]

[[hook]]
on = "prompt.preprocess"

[database]
migrations = "migrations"
"#
        );
        fs::write(plugin.join("kodex.toml"), manifest)?;
        self.files(
            &self.migrations(),
            |n| format!("{n:04}_table.sql"),
            |[table, index]| format!("{table}\n{index}\n"),
        )
    }

    fn others(&self) -> Result<()> {
        let plain = |[table, index]: [&str; 2]| format!("{table}\n{index}\n");
        self.files(&self.refinery(), |n| format!("V{n}__table.sql"), plain)?;
        self.files(&self.yoyo(), |n| format!("{n:04}_table.sql"), plain)?;
        self.files(
            &self.dbmate(),
            |n| format!("2024{n:010}_table.sql"),
            |[table, index]| format!("-- migrate:up\n{table}\n{index}\n-- migrate:down\n"),
        )?;
        self.files(
            &self.drizzle(),
            |n| format!("{n:04}_table.sql"),
            |[table, index]| format!("{table}\n--> statement-breakpoint\n{index}\n"),
        )?;
        self.drizzle_index()?;
        self.alembic_files()
    }

    fn files(
        &self,
        folder: &Path,
        name: impl Fn(usize) -> String,
        text: impl Fn([&str; 2]) -> String,
    ) -> Result<()> {
        fs::create_dir_all(folder)?;
        for n in 1..=self.n_steps {
            let table = format!("CREATE TABLE t{n} (id INTEGER PRIMARY KEY, a TEXT, b TEXT);");
            let index = format!("CREATE INDEX t{n}_a ON t{n} (a);");
            fs::write(folder.join(name(n)), text([&table, &index]))?;
        }
        Ok(())
    }

    fn drizzle_index(&self) -> Result<()> {
        let entry = |n: usize| {
            let when = FIRST_MS + n as u64;
            json!({"idx": n - 1, "version": "7", "when": when, "tag": format!("{n:04}_table"), "breakpoints": true})
        };
        let entries: Vec<_> = (1..=self.n_steps).map(entry).collect();
        let index = json!({"version": "7", "dialect": "sqlite", "entries": entries});
        let meta = self.drizzle().join("meta");
        fs::create_dir_all(&meta)?;
        Ok(fs::write(meta.join("_journal.json"), index.to_string())?)
    }

    fn alembic_files(&self) -> Result<()> {
        let folder = self.alembic();
        let versions = folder.join("versions");
        fs::create_dir_all(&versions)?;
        fs::write(
            folder.join("alembic.ini"),
            "[alembic]\nscript_location = %(here)s\n",
        )?;
        fs::copy(script("alembic_env.py"), folder.join("env.py"))?;
        for n in 1..=self.n_steps {
            let before = match n {
                1 => "None".to_owned(),
                _ => format!("\"{:04}\"", n - 1),
            };
            let text = format!(
                r#"from alembic import op

revision = "{n:04}"
down_revision = {before}


def upgrade():
    op.execute("CREATE TABLE t{n} (id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
    op.execute("CREATE INDEX t{n}_a ON t{n} (a)")
"#
            );
            fs::write(versions.join(format!("{n:04}_table.py")), text)?;
        }
        Ok(())
    }
}
