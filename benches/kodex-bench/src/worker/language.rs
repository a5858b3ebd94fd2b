//! The languages: for each a worker, the least that a worker can be, and the peers.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::{LANES, Turn, payload, plugins};
use crate::{
    peer::Peer,
    programs::{Programs, command, script, sibling},
};

/// One language and what section 2 of the targets asks of it.
pub(super) struct Language {
    pub(super) name: &'static str,
    /// Kodex's worker in this language.
    pub(super) plugin: plugins::Plugin,
    /// The program and its arguments of the least that a worker can be.
    pub(super) bare: Vec<PathBuf>,
    /// A program that is started for each event, and what it is called.
    pub(super) once: Vec<PathBuf>,
    pub(super) once_name: &'static str,
    /// The peer over MCP.
    pub(super) mcp: Option<Vec<PathBuf>>,
    pub(super) mcp_name: &'static str,
    pub(super) targets: Targets,
}

/// Targets that not every language has.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub(super) one: Option<&'static str>,
    pub(super) once: Option<&'static str>,
    pub(super) apart: Option<&'static str>,
}

/// Every language whose interpreter is there.
pub(super) fn all(programs: &Programs) -> Result<Vec<Language>> {
    let mut languages = vec![python(programs)?];
    match &programs.node {
        Some(node) => languages.push(in_node(node.clone(), programs)?),
        None => crate::note("no `node` on the search path: nothing is measured in it"),
    }
    languages.push(rust(programs)?);
    Ok(languages)
}

fn python(programs: &Programs) -> Result<Language> {
    let python = &programs.python;
    let mcp = |peers: &PathBuf| vec![peers.clone(), script("mcp_calls.py")];
    Ok(Language {
        name: "python",
        plugin: plugins::python(programs)?,
        // Isolated, as Kodex starts it.
        bare: vec![python.clone(), "-I".into(), script("bare.py")],
        once: vec![python.clone(), script("once.py")],
        once_name: "python3 for each hook",
        mcp: programs.python_of_peers.as_ref().map(mcp),
        mcp_name: "MCP tool call, Python SDK",
        targets: Targets {
            one: Some("ratio_limit<=1.3 and ratio_peer>=10"),
            once: Some("ratio_peer>=400"),
            apart: None,
        },
    })
}

fn in_node(node: PathBuf, programs: &Programs) -> Result<Language> {
    let mcp = |peers: &PathBuf| vec![node.clone(), script("mcp_calls.mjs"), peers.clone()];
    Ok(Language {
        name: "node",
        plugin: plugins::node(programs, &node)?,
        bare: vec![node.clone(), script("bare.mjs")],
        once: vec![node.clone(), script("once.mjs")],
        once_name: "node for each hook",
        mcp: programs.node_of_peers.as_ref().map(mcp),
        mcp_name: "MCP tool call, Node SDK",
        targets: Targets {
            one: Some("ratio_limit<=1.3"),
            ..Targets::default()
        },
    })
}

fn rust(programs: &Programs) -> Result<Language> {
    Ok(Language {
        name: "rust",
        plugin: plugins::rust(programs)?,
        bare: vec![sibling("kodex-bench-role")?, "bare".into()],
        once: vec!["sh".into(), script("once.sh")],
        once_name: "sh for each hook",
        mcp: None,
        mcp_name: "",
        targets: Targets {
            one: Some("ratio_limit<=1.3"),
            apart: Some("ratio_peer>=5"),
            ..Targets::default()
        },
    })
}

/// A tool call over MCP, client and server in the same language.
pub(super) struct Mcp(Peer);

impl Mcp {
    /// The peer of a language, unless it is not installed.
    pub(super) fn start(language: &Language) -> Result<Option<Self>> {
        let Some((program, arguments)) = language.mcp.as_deref().and_then(<[PathBuf]>::split_first)
        else {
            return Ok(None);
        };
        Ok(Some(Self(Peer::start(command(program).args(arguments))?)))
    }

    pub(super) fn name(&self, language: &Language) -> String {
        let version = self.0.hello["mcp"].as_str().unwrap_or_default();
        format!("{} {version}", language.mcp_name)
    }

    /// One turn, one at a time or eight in flight.
    pub(super) fn turn(&mut self, lanes: usize, n_calls: usize) -> Result<Turn> {
        let payload: serde_json::Value = serde_json::from_str(&payload())?;
        let n_calls = n_calls.max(LANES);
        let answer = self
            .0
            .ask(&json!({"lanes": lanes, "calls": n_calls, "payload": payload}))?;
        let us = answer["us"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_f64)
            .collect();
        Ok(Turn {
            us,
            seconds: answer["seconds"].as_f64().unwrap_or_default(),
        })
    }
}
