//! What the repository needs on the machine beside git and Rust, and how Debian gives it.
//!
//! A need is a row: how to ask whether it is there, which package brings it, and for what. Nothing
//! is installed that is there already, so a second run only looks.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::postgres;
use crate::step::Step;

const ASK: Duration = Duration::from_secs(60);
const INSTALL: Duration = Duration::from_secs(20 * 60);

/// Something that must be on the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    name: &'static str,
    /// The command that succeeds, and prints a version, where the need is met.
    probe: &'static [&'static str],
    /// The oldest version that will do, as major and minor number.
    oldest: (u32, u32),
    /// The Debian package that brings it.
    package: &'static str,
    purpose: &'static str,
}

/// Enough to run Python plugins.
pub(crate) const PYTHON: &[Need] = &[Need {
    name: "python3",
    probe: &["python3", "--version"],
    oldest: (3, 9),
    package: "python3",
    purpose: "runs plugins written in Python",
}];

/// Enough to test the store on a server.
pub(crate) const POSTGRES: &[Need] = &[Need {
    name: "postgres",
    // Debian keeps the server's programs off the path, in a folder for each version.
    probe: &[
        "sh",
        "-c",
        "for bin in /usr/lib/postgresql/*/bin; do PATH=$bin:$PATH; done; initdb --version",
    ],
    oldest: (13, 0),
    package: "postgresql",
    purpose: "is the server that the store is tested on",
}];

/// Enough to move the clocks of nodes.
pub(crate) const CHAOS: &[Need] = &[Need {
    name: "libfaketime",
    probe: &[
        "dpkg-query",
        "--show",
        "--showformat=${Version}\n",
        "libfaketime",
    ],
    oldest: (0, 9),
    package: "libfaketime",
    purpose: "moves the clocks of nodes whose clocks must not matter",
}];

/// Enough for every test.
pub(crate) const TESTS: &[Need] = &[
    PYTHON[0],
    Need {
        name: "python3 venv",
        probe: &[
            "python3",
            "-c",
            "import venv, ensurepip; print(ensurepip.version())",
        ],
        oldest: (0, 0),
        package: "python3-venv",
        purpose: "lets tests install plugins as Python packages",
    },
    Need {
        name: "node",
        probe: &["node", "--version"],
        oldest: (18, 0),
        package: "nodejs",
        purpose: "runs plugins written in JavaScript",
    },
    Need {
        name: "jq",
        probe: &["jq", "--version"],
        oldest: (1, 5),
        package: "jq",
        purpose: "reads JSON in plugins written in shell",
    },
    POSTGRES[0],
    CHAOS[0],
];

/// What benchmarks compare with, as far as Debian has it. This package holds Redis' server under the name
/// of one of its tools, and unlike the server's own package it starts no service.
pub(crate) const PEERS: &[Need] = &[Need {
    name: "redis",
    probe: &["redis-check-rdb", "--version"],
    oldest: (5, 0),
    package: "redis-tools",
    purpose: "is what plugins' values are measured beside",
}];

/// Enough to compile for WebAssembly: Debian's compiler for the web and the standard library's
/// source of the same version. Its compiler is asked for by its full path, because rustup's stands
/// before it.
pub(crate) const WASM: &[Need] = &[
    Need {
        name: "rustc for the web",
        probe: &["/usr/bin/rustc", "--version"],
        oldest: (1, 95),
        package: "rustc-web",
        purpose: "compiles the contract for wasm32",
    },
    Need {
        name: "its standard library",
        probe: &[
            "dpkg-query",
            "--show",
            "--showformat=${Version}\n",
            "rust-web-src",
        ],
        oldest: (1, 95),
        package: "rust-web-src",
        purpose: "compiles the contract for wasm32",
    },
];

/// Looks for every need, installs what is missing, and prints what was found.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = look(needs, true);
    install(&missing)
}

/// As [`ensure`], but prints only when something is missing.
pub(crate) fn ensure_quietly(needs: &[Need]) -> Result<()> {
    let missing = look(needs, false);
    install(&missing)
}

fn look(needs: &[Need], is_loud: bool) -> Vec<Need> {
    let mut missing = Vec::new();
    for need in needs {
        match probe(need) {
            Ok(version) if is_loud => eprintln!("{:22} {version}", need.name),
            Ok(_) => {}
            Err(why) => {
                eprintln!("{:22} {why}; it {}", need.name, need.purpose);
                missing.push(*need);
            }
        }
    }
    missing
}

/// The version that is there, or why the need is not met.
fn probe(need: &Need) -> Result<String, String> {
    let output = Step::new(need.probe[0], ASK)
        .args(&need.probe[1..])
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output,
        _ => return Err("missing".to_owned()),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    judge(&line, need.oldest).map(|()| line)
}

fn judge(line: &str, oldest: (u32, u32)) -> Result<(), String> {
    match version(line) {
        Some(found) if found >= oldest => Ok(()),
        Some(_) => Err(format!("{line} is older than {}.{}", oldest.0, oldest.1)),
        None => Err(format!("no version in `{line}`")),
    }
}

/// Major and minor number of the first version in a line such as `Python 3.11.2`.
fn version(line: &str) -> Option<(u32, u32)> {
    let start = line.find(|c: char| c.is_ascii_digit())?;
    let mut numbers = line[start..].split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    Some((major, minor))
}

fn install(missing: &[Need]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let packages = packages.join(" ");
    let by_hand = format!("could not install {packages}; as root: apt-get install {packages}");
    apt_get(&["update"]).with_context(|| by_hand.clone())?;
    // The file must stand there before the package looks, and is of no use afterwards.
    let (path, text) = postgres::NO_CLUSTER;
    let quiet = missing.iter().any(|need| need.package == "postgresql");
    if quiet {
        as_root("sh")
            .args(["-c", "mkdir -p \"${1%/*}\" && printf %s \"$2\" >\"$1\""])
            .args(["sh", path, text])
            .run()?;
    }
    let arguments = ["install", "-y", "--no-install-recommends"];
    let arguments: Vec<&str> = arguments.into_iter().chain(packages.split(' ')).collect();
    let installed = apt_get(&arguments).with_context(|| by_hand.clone());
    if quiet {
        as_root("rm").args(["-f", path]).run()?;
    }
    installed?;
    let still = look(missing, true);
    if !still.is_empty() {
        let names: Vec<&str> = still.iter().map(|need| need.name).collect();
        bail!(
            "still missing after installing {packages}: {}",
            names.join(", ")
        );
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    as_root("apt-get").args(arguments).run()
}

fn as_root(program: &str) -> Step {
    if rustix::process::geteuid().is_root() {
        Step::new(program, INSTALL).env("DEBIAN_FRONTEND", "noninteractive")
    } else {
        // `-n`: a question for a password would wait for ever where nobody can answer.
        Step::new("sudo", INSTALL).args(["-n", "DEBIAN_FRONTEND=noninteractive", program])
    }
}

/// Installs what the benchmarks compare Kodex with.
pub(crate) fn peers(root: &Path) -> Result<()> {
    let script = root.join("benches/peers/setup.sh");
    if !script.is_file() {
        bail!("benches/peers/setup.sh, which installs the peers, is not there");
    }
    Step::new("sh", INSTALL)
        .arg(script)
        .arg(root.join(".peers"))
        .dir(root)
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged() {
        let check = |line: &str, oldest, expected: &str| {
            let judged = judge(line, oldest).err().unwrap_or_default();
            assert_eq!(judged, expected, "{line}");
        };
        check("Python 3.11.2", (3, 9), "");
        check("Python 3.9.0", (3, 9), "");
        check("Python 3.8.20", (3, 9), "Python 3.8.20 is older than 3.9");
        check("v18.20.4", (18, 0), "");
        check("v9.11.0", (18, 0), "v9.11.0 is older than 18.0");
        check("jq-1.6", (1, 5), "");
        check("rustc 1.96.0 (ac68faa20 2026-05-25)", (1, 95), "");
        check("", (1, 0), "no version in ``");
    }

    #[test]
    fn a_need_without_its_program_is_missing() {
        let need = Need {
            probe: &["no-such-program-anywhere"],
            ..PYTHON[0]
        };
        assert_eq!(probe(&need), Err("missing".to_owned()));
        assert_eq!(look(&[need], false).len(), 1);
    }
}
