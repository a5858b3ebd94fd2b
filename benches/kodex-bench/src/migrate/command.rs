//! The whole command when nothing is to be done, from the start of its process to the end.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use kodex::store::Engine;

use super::{BENCH, Empty, LARGE, Migrate, journal::Journal};
use crate::{
    programs::{command, output, script, sibling, whole},
    report::{Figure, Report},
    samples::{Samples, ms},
    world,
};

/// Tools other than dbmate take seconds to apply a large journal, so they are compared over a usual one.
const TOOLS: [&str; 3] = ["alembic", "yoyo", "drizzle"];

/// A tool over one journal in one place.
struct Tool {
    name: String,
    command: Command,
    times: Samples,
    _empty: Empty,
}

impl Migrate<'_> {
    pub(super) fn commands(
        &mut self,
        report: &mut Report,
        engine: Engine,
        journal: &Journal,
    ) -> Result<()> {
        let wanted: &[&str] = if journal.n_named == LARGE {
            &["dbmate"]
        } else {
            &TOOLS
        };
        let mut tools = Vec::new();
        for tool in wanted {
            tools.push(self.tool(tool, engine, journal)?);
        }
        let empty = self.empty(engine)?;
        let mut kodex = self.kodex(engine, &empty, journal)?;
        whole(&mut kodex)?;
        let mut ours = Samples::default();
        for _ in self.size.rounds(20, 0.06) {
            ours.push(ms(whole(&mut kodex)?));
            for tool in tools.iter_mut().flatten() {
                tool.times.push(ms(whole(&mut tool.command)?));
            }
        }
        for (name, tool) in wanted.iter().zip(&tools) {
            let case = format!("{}_command_{}_{name}", engine.as_str(), journal.n_named);
            let figure = Figure::lower(BENCH, &case, "ms", &ours);
            let figure = match tool {
                Some(tool) => figure.peer(&tool.name, &tool.times),
                None => figure,
            };
            report.add(&match *name {
                "dbmate" => figure.target("ratio_peer>=4"),
                _ => figure,
            });
        }
        Ok(())
    }

    fn kodex(&self, engine: Engine, empty: &Empty, journal: &Journal) -> Result<Command> {
        let home = self.programs.scratch.path().join("home");
        let environment = home.join("environment");
        if !environment.is_dir() {
            std::fs::create_dir_all(&home)?;
            world::environment(&environment, self.programs)?;
        }
        let store = match engine {
            Engine::Sqlite => format!("sqlite:{}/store", empty.place),
            Engine::Postgres => empty.place.clone(),
        };
        let mut kodex = command(sibling("kodex-bench-cli")?);
        kodex
            .env_clear()
            .env("HOME", &home)
            .env("PATH", "/usr/bin:/bin")
            .env("KODEX_CACHE_DIR", self.programs.cache())
            .env("KODEX_DATABASE_URL", store)
            .env("VIRTUAL_ENV", &environment)
            .current_dir(&home)
            .arg("--plugin-dir")
            .arg(journal.plugins())
            .arg("upgrade");
        Ok(kodex)
    }

    /// A tool that has applied the journal; none where it is not installed or does not work here.
    fn tool(&mut self, tool: &str, engine: Engine, journal: &Journal) -> Result<Option<Tool>> {
        let Some(program) = self.program(tool) else {
            crate::note(&format!("{tool} is not installed; it is left out"));
            return Ok(None);
        };
        let empty = self.empty(engine)?;
        let mut command = self.over(tool, &program, engine, &empty, journal);
        if let Err(error) = output(&mut command) {
            crate::note(&format!("{tool} is left out: {error:#}"));
            return Ok(None);
        }
        Ok(Some(Tool {
            name: self.version(tool),
            command,
            times: Samples::default(),
            _empty: empty,
        }))
    }

    fn program(&self, tool: &str) -> Option<PathBuf> {
        let node = self.programs.node_of_peers.as_deref();
        let packages = node.map(|folder| folder.join("node_modules"));
        let program = match tool {
            // The program itself; the package's own command starts Node first.
            "dbmate" => {
                let platforms = std::fs::read_dir(packages?.join("@dbmate")).ok()?.flatten();
                platforms
                    .map(|platform| platform.path().join("bin/dbmate"))
                    .find(|program| program.is_file())?
            }
            "drizzle" => {
                let packages = packages?;
                let native = packages.join("better-sqlite3/build/Release/better_sqlite3.node");
                (packages.join("drizzle-orm").is_dir() && native.is_file()).then_some(())?;
                self.programs.node.clone()?
            }
            _ => self.programs.python_of_peers.as_ref()?.with_file_name(tool),
        };
        program.is_file().then_some(program)
    }

    fn over(
        &self,
        tool: &str,
        program: &Path,
        engine: Engine,
        empty: &Empty,
        journal: &Journal,
    ) -> Command {
        let place = &empty.place;
        let mut command = command(program);
        // Its own modules in Python are compiled once, as for whoever works with it.
        command.env_remove("PYTHONDONTWRITEBYTECODE");
        let in_python = match engine {
            Engine::Sqlite => format!("sqlite:///{place}/{tool}.db"),
            Engine::Postgres => place.replacen("postgres:", "postgresql+psycopg:", 1),
        };
        match (tool, engine) {
            ("dbmate", _) => {
                let url = match engine {
                    Engine::Sqlite => format!("sqlite:{place}/dbmate.db"),
                    Engine::Postgres => format!("{place}?sslmode=disable"),
                };
                command.args(["--url", &url, "--no-dump-schema", "-d"]);
                command.arg(journal.dbmate()).arg("up");
            }
            ("alembic", _) => {
                command.env("BENCH_PLACE", in_python).arg("-c");
                command.arg(journal.alembic().join("alembic.ini"));
                command.args(["upgrade", "head"]);
            }
            ("yoyo", _) => {
                command.args(["apply", "--batch", "--no-config-file", "-d", &in_python]);
                command.arg(journal.yoyo());
            }
            (_, engine) => {
                let node = self.programs.node_of_peers.as_deref();
                command.arg(script("drizzle.mjs"));
                command.arg(node.unwrap_or(Path::new(".")));
                command.arg(engine.as_str());
                command.arg(match engine {
                    Engine::Sqlite => format!("{place}/drizzle.db"),
                    Engine::Postgres => place.clone(),
                });
                command.arg(journal.drizzle());
            }
        }
        command
    }

    /// The tool's name with its version.
    fn version(&self, tool: &str) -> String {
        let package = match tool {
            "yoyo" => "yoyo-migrations",
            "drizzle" => "drizzle-orm",
            tool => tool,
        };
        let version = match tool {
            "dbmate" | "drizzle" => self.node_version(package),
            _ => self.python_version(package),
        };
        match version {
            Some(version) => format!("{package} {version}"),
            None => package.to_owned(),
        }
    }

    fn node_version(&self, package: &str) -> Option<String> {
        let packages = self.programs.node_of_peers.as_ref()?.join("node_modules");
        let text = std::fs::read_to_string(packages.join(package).join("package.json")).ok()?;
        let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
        manifest["version"].as_str().map(str::to_owned)
    }

    fn python_version(&self, package: &str) -> Option<String> {
        let ask = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))";
        let python = self.programs.python_of_peers.as_ref()?;
        let printed = output(command(python).args(["-c", ask, package])).ok()?;
        Some(printed.trim().to_owned())
    }
}
