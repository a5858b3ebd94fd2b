//! `kodex list` as a whole process, from its start to its end, against executing every plugin as the
//! first Python runtime does, and against a process that only looks at every file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    programs::{Programs, command, on_path, output, remove, script, sibling, whole},
    report::{Figure, Report},
    samples::{Samples, ms},
    size::Size,
    world,
};

const BENCH: &str = "cold";
const PEER: &str = "executing every file";

/// Runs the bench.
pub(crate) fn run(report: &mut Report, size: Size, programs: &Programs) -> Result<()> {
    let folder = programs.scratch.path();
    let environment = folder.join("empty-environment");
    world::environment(&environment, programs)?;
    let listing = |n_plugins: usize| Listing::new(programs, &environment, n_plugins, size);
    for (n_plugins, target) in [
        (
            10,
            Some("ratio_peer>=10 and value<=2.7 or ratio_limit<=3.25"),
        ),
        (100, None),
        (
            1_000,
            Some("ratio_peer>=25 and value<=10 or ratio_limit<=3.85"),
        ),
    ] {
        report.add(&listing(n_plugins)?.unchanged(n_plugins, target, size)?);
    }
    report.add(&listing(1_000)?.first(size)?);
    report.add(&distributions(&listing(10)?, programs, size)?);
    report.add(&start(&listing(10)?, size)?);
    Ok(())
}

/// One set of plugins and the ways to list it.
struct Listing {
    kodex: PathBuf,
    role: PathBuf,
    sdk: PathBuf,
    environment: PathBuf,
    /// The peer leaves compiled files beside the sources, so each has the sources to itself.
    plugins: PathBuf,
    plugins_of_peer: PathBuf,
    home: PathBuf,
    n_plugins: usize,
}

impl Listing {
    fn new(programs: &Programs, environment: &Path, n_plugins: usize, size: Size) -> Result<Self> {
        let folder = programs.scratch.path().join(n_plugins.to_string());
        let n_plugins = size.count(n_plugins);
        let listing = Self {
            kodex: sibling("kodex-bench-cli")?,
            role: sibling("kodex-bench-role")?,
            sdk: programs.sdk.clone(),
            environment: environment.to_owned(),
            plugins: folder.join("plugins"),
            plugins_of_peer: folder.join("plugins-of-peer"),
            home: folder.join("home"),
            n_plugins,
        };
        fs::create_dir_all(&listing.home)?;
        world::plugins(&listing.plugins, n_plugins)?;
        world::plugins(&listing.plugins_of_peer, n_plugins)?;
        Ok(listing)
    }

    /// A command with nothing but what it needs in its environment.
    fn alone(&self, program: &Path) -> Command {
        let mut command = command(program);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", "/usr/bin:/bin")
            .current_dir(&self.home);
        command
    }

    fn kodex(&self) -> Command {
        let mut command = self.alone(&self.kodex);
        command
            .env("KODEX_CACHE_DIR", self.home.join("cache"))
            .env("VIRTUAL_ENV", &self.environment);
        command
    }

    fn list(&self) -> Command {
        let mut command = self.kodex();
        command.arg("--plugin-dir").arg(&self.plugins).arg("list");
        command
    }

    fn peer(&self) -> Command {
        let mut command = self.alone(&self.environment.join("bin/python"));
        command
            .arg(script("listing.py"))
            .arg(&self.sdk)
            .arg(&self.plugins_of_peer);
        command
    }

    fn stat(&self) -> Command {
        let mut command = self.alone(&self.role);
        command.arg("stat").arg(&self.plugins);
        command
    }

    /// Both must list the same plugins, or the times compare nothing.
    fn check(&self, n_installed: usize) -> Result<()> {
        let (ours, theirs) = (output(&mut self.list())?, output(&mut self.peer())?);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let n_listed = ours.lines().count();
        if sorted(&ours) != sorted(&theirs) || n_listed != self.n_plugins + n_installed {
            bail!(
                "{n_listed} of {} plugins are listed:\n{ours}\n{PEER}:\n{theirs}",
                self.n_plugins
            );
        }
        Ok(())
    }

    /// Listing what was listed before.
    fn unchanged(&self, n_plugins: usize, target: Option<&str>, size: Size) -> Result<Figure> {
        self.check(0)?;
        // Signatures of files that were made a moment ago are not trusted; once more renews them.
        self.check(0)?;
        let [mut ours, mut peer, mut limit] = [const { Vec::new() }; 3].map(Samples::from);
        for _ in size.rounds(30, 0.15) {
            ours.push(ms(whole(&mut self.list())?));
            peer.push(ms(whole(&mut self.peer())?));
            ours.push(ms(whole(&mut self.list())?));
            limit.push(ms(whole(&mut self.stat())?));
        }
        let figure = Figure::lower(BENCH, &format!("list_{n_plugins}"), "ms", &ours)
            .peer(PEER, &peer)
            .limit("a process that looks at every file", &limit);
        Ok(match target {
            Some(target) => figure.target(target),
            None => figure,
        })
    }

    /// Listing for the first time: no cache here, no compiled files there.
    fn first(&self, size: Size) -> Result<Figure> {
        let [mut ours, mut peer] = [const { Vec::new() }; 2].map(Samples::from);
        for _ in size.rounds(7, 0.25) {
            remove(&self.home.join("cache"))?;
            ours.push(ms(whole(&mut self.list())?));
            remove(&self.plugins_of_peer.join("__pycache__"))?;
            peer.push(ms(whole(&mut self.peer())?));
        }
        let name = format!("{PEER} for the first time");
        // At most 1.5 times the peer's time.
        Ok(Figure::lower(BENCH, "first_1000", "ms", &ours)
            .peer(&name, &peer)
            .target("ratio_peer>=0.667"))
    }
}

/// What 300 installed distributions, 30 of them with plugins, add to a listing.
fn distributions(without: &Listing, programs: &Programs, size: Size) -> Result<Figure> {
    let environment = programs.scratch.path().join("full-environment");
    world::environment(&environment, programs)?;
    let n_distributions = size.count(300);
    world::distributions(&environment, n_distributions)?;
    let with = Listing {
        environment,
        home: programs.scratch.path().join("full-home"),
        plugins: without.plugins.clone(),
        plugins_of_peer: without.plugins_of_peer.clone(),
        kodex: without.kodex.clone(),
        role: without.role.clone(),
        sdk: without.sdk.clone(),
        n_plugins: without.n_plugins,
    };
    fs::create_dir_all(&with.home)?;
    with.check(n_distributions.div_ceil(10))?;
    with.check(n_distributions.div_ceil(10))?;
    let [mut ours, mut peer] = [const { Vec::new() }; 2].map(Samples::from);
    for _ in size.rounds(30, 0.15) {
        let alone = ms(whole(&mut without.list())?);
        ours.push(ms(whole(&mut with.list())?) - alone);
        let alone = ms(whole(&mut without.peer())?);
        peer.push(ms(whole(&mut with.peer())?) - alone);
    }
    Ok(Figure::lower(BENCH, "distributions_300", "ms", &ours)
        .peer("importlib.metadata, and executing them", &peer)
        .target("value<=5"))
}

/// The program alone, beside the least that a process can be.
fn start(listing: &Listing, size: Size) -> Result<Figure> {
    // By its path: to look for it in the child costs a fork, which is no part of it.
    let least = on_path("true").context("no `true` on the search path")?;
    let [mut ours, mut limit] = [const { Vec::new() }; 2].map(Samples::from);
    for _ in size.rounds(30, 0.1) {
        ours.push(ms(whole(listing.kodex().arg("--version"))?));
        limit.push(ms(whole(&mut listing.alone(&least))?));
    }
    Ok(Figure::lower(BENCH, "start", "ms", &ours).limit("true", &limit))
}
