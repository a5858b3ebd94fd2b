//! What every stable code means and what to do: the codes of the runtime itself, and the tables of
//! the crates below it in one list. The reference is generated from that list, and `kodex explain`
//! reads it.

/// Codes of one area.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CodeTable {
    /// A heading.
    pub title: &'static str,
    /// What the codes have in common.
    pub about: &'static str,
    /// Each code, with what it means and what to do.
    pub codes: Vec<(&'static str, &'static str)>,
}

/// Every code that the runtime can give, by area. Plugins may bring codes of their own besides.
///
/// ```
/// let tables = kodex::codes();
/// let (_, meaning) = tables
///     .iter()
///     .flat_map(|table| &table.codes)
///     .find(|(code, _)| *code == "load.name.duplicate")
///     .expect("a code of the runtime");
/// assert!(meaning.contains("Rename one of them"));
/// ```
#[must_use]
pub fn codes() -> Vec<CodeTable> {
    let table = |title, about, codes: &[(&'static str, &'static str)]| CodeTable {
        title,
        about,
        codes: codes.to_vec(),
    };
    #[cfg_attr(
        not(feature = "worker"),
        expect(unused_mut, reason = "workers bring tables of their own")
    )]
    let mut tables = vec![
        table(
            "Loading, calls and upgrades",
            "What the runtime finds while it loads plugins, calls them and applies their migrations.",
            RUNTIME,
        ),
        table(
            "Durable work",
            "What is wrong with a wish for a run or a job, and why one waits or has ended.",
            WORK,
        ),
        table(
            "Manifests",
            "Findings while a manifest is read.",
            kodex_plugin::manifest::CODES,
        ),
        table(
            "Permissions",
            "What is wrong with a permission that a manifest or a policy writes.",
            kodex_plugin::permission::CODES,
        ),
        table(
            "Messages",
            "What a plugin and the host may answer each other, and JSON that is refused at the door.",
            kodex_plugin::CODES,
        ),
        table(
            "Stores",
            "How databases, state and their ledger fail.",
            kodex_store::error::CODES,
        ),
        table(
            "Journals",
            "What is wrong with a plugin's folder of migrations.",
            kodex_store::journal::CODES,
        ),
    ];
    #[cfg(feature = "worker")]
    tables.extend([
        table(
            "Python",
            "What is found before a Python plugin runs: the interpreter, installed packages, and what the plugin declares.",
            kodex_backend::python::CODES,
        ),
        CodeTable {
            title: "Workers",
            about: "How a plugin in another process fails.",
            codes: kodex_backend::CODES
                .iter()
                .map(|code| (code.code, code.meaning))
                .collect(),
        },
    ]);
    tables
}

/// The runtime's own codes, sorted.
const RUNTIME: &[(&str, &str)] = &[
    (
        "activate.failed",
        "The plugin failed to start a moment ago. `kodex doctor` shows why; the next call tries again.",
    ),
    (
        "activate.timeout",
        "The plugin did not start in time. Do slow work at the first call, or raise `guard.activation_timeout`.",
    ),
    (
        "backend.open.launch",
        "A package was handed to a backend that cannot start it. Only an embedder with a bug does that.",
    ),
    (
        "backend.open.relative_root",
        "A package was opened with a relative folder. Only an embedder with a bug does that.",
    ),
    (
        "breaker.open",
        "The plugin failed so often that it is left alone for a while. Mend the failure that `kodex doctor` shows; the breaker closes when an answer is good again.",
    ),
    (
        "call.timeout",
        "The plugin did not answer in time. Make it faster, or give the hook or tool a longer `timeout`.",
    ),
    (
        "config.plugin.unknown",
        "The configuration speaks of a plugin that was not found. Correct the name, or remove the table.",
    ),
    (
        "contribute.empty_text",
        "A text that the plugin contributes to a prompt is blank, so all of its texts were left out. Reply with nothing when there is nothing to say.",
    ),
    (
        "contribute.gone",
        "A turn went on after its checkpoint and what plugins had contributed is no longer kept. Use the agent's own record of the prompt, or raise `Turn::keep_for`.",
    ),
    (
        "contribute.invalid",
        "What the plugin contributes to a prompt has not the form of the hook. Reply with `{\"messages\": [{\"text\": ...}]}`.",
    ),
    (
        "contribute.long_text",
        "A text that the plugin contributes to a prompt has more than 8,000 characters, so all of its texts were left out. Contribute less.",
    ),
    (
        "contribute.no_store",
        "The runtime was given no store, so plugins are asked again when an input comes twice. Call `Builder::store`.",
    ),
    (
        "contribute.no_turn",
        "The turn has no `turn_id`, so plugins are asked again when an input comes twice. Name the turn.",
    ),
    (
        "contribute.not_kept",
        "What plugins contributed cannot be kept or read in the store. The message says why; the turn goes on without.",
    ),
    (
        "contribute.over_budget",
        "All plugins together may contribute 16,000 characters to a prompt, counted by name; this one no longer fitted. Contribute less, or enable fewer plugins that contribute.",
    ),
    (
        "db.undeclared",
        "The plugin uses SQL without saying so. Add a `[database]` table to its manifest.",
    ),
    (
        "discover.directory.is_a_file",
        "The place of a plugin directory is a file. Name the folder that holds the plugins.",
    ),
    (
        "discover.directory.missing",
        "A plugin directory is not there. Create it with `kodex scaffold NAME`, or name another one with `--plugin-dir`.",
    ),
    (
        "discover.directory.unreadable",
        "A plugin directory cannot be read. Check its permissions.",
    ),
    (
        "discover.name.not_utf8",
        "A file in a plugin directory has a name that is no UTF-8. Rename it.",
    ),
    (
        "discover.plugin.unrecognised",
        "There is no plugin at the path. Name a folder with a `kodex.toml`, a manifest, or a Python file.",
    ),
    (
        "dispatch.payload.unserialisable",
        "The payload of a typed hook has no form in JSON. Use texts as keys, and numbers that are finite.",
    ),
    (
        "event.budget_spent",
        "The event's time was over before the plugin was asked. Make those before it faster, or raise `guard.event_budget`.",
    ),
    (
        "journal.behind",
        "Migrations of the plugin were not applied yet. Run `kodex upgrade`.",
    ),
    (
        "limit.host_busy",
        "Too many events and tool calls are under way. Wait, or raise `guard.concurrency`.",
    ),
    (
        "limit.queue_full",
        "Too many calls wait for the plugin already. Call it less, or raise `limits.queue`.",
    ),
    (
        "limit.wait_timeout",
        "The call waited for its turn until its time was over. Call the plugin less, or raise `limits.concurrency`.",
    ),
    (
        "load.failed",
        "A plugin cannot be loaded and the mode is strict. The message names it.",
    ),
    (
        "load.kind.native_on_disk",
        "A manifest on disk says `kind = \"native\"`, which is for Rust code inside the program. Use `kind = \"process\"`, or pass the plugin to `Builder::native`.",
    ),
    (
        "load.kind.unsupported",
        "Plugins of this kind cannot run in this program. Use another kind, or a program that was built with it.",
    ),
    (
        "load.manifest.not_utf8",
        "A manifest is no UTF-8. Save it as UTF-8.",
    ),
    (
        "load.manifest.too_long",
        "A manifest is longer than any needs to be. Move long texts and schemas out of it.",
    ),
    (
        "load.manifest.unreadable",
        "A manifest cannot be read. Check the permissions of the file.",
    ),
    (
        "load.name.duplicate",
        "Two plugins have the same name; the first one is used. Rename one of them.",
    ),
    (
        "load.name.reserved",
        "The plugin has a name that Kodex keeps for itself. Give it another name.",
    ),
    (
        "load.no_async_runtime",
        "The runtime was built outside of tokio. Build it inside a tokio runtime.",
    ),
    (
        "load.not_enabled",
        "The configuration says that the plugin is not enabled. Set `enabled = true` for it to be loaded.",
    ),
    (
        "load.root.unreadable",
        "The plugin's folder cannot be opened. Check its permissions.",
    ),
    (
        "native.panicked",
        "A plugin in Rust panicked. The message is the panic's; nothing else was harmed.",
    ),
    (
        "python.not_configured",
        "The embedding program has Python plugins but did not say how to run them. Call `Builder::python`.",
    ),
    (
        "reply.invalid",
        "The reply does not have the form that the hook asks for. Compare it with the reference of hooks.",
    ),
    (
        "reply.too_large",
        "The reply is longer than allowed. Reply with less, or raise `limits.frame_bytes`.",
    ),
    (
        "report.read_only",
        "A plugin tried to change something while it was asked for a report. Do it in another hook, a tool or a job.",
    ),
    (
        "requires.bin.missing",
        "A program that the plugin requires is not on the search path. Install it, or add its folder to the path.",
    ),
    (
        "runtime.stopped",
        "The runtime was shut down while the plugin started. Nothing has to be done.",
    ),
    (
        "step.not_running",
        "The plugin reported the progress of a data step while none runs. Report it inside the step.",
    ),
    (
        "step.progress",
        "The progress of a data step cannot be kept: it is too long or cannot be read. Keep a position, not the data.",
    ),
    (
        "step.reply",
        "A data step did not reply with its counters. Reply as the contract says.",
    ),
    (
        "step.service",
        "A data step asked for a service that is not there during an upgrade. Use the database, state, log and clock alone.",
    ),
    (
        "store.not_configured",
        "A plugin wants to store something and the runtime was given no store. Call `Builder::store`.",
    ),
    (
        "tool.caller.unknown",
        "The tool acts for a conversation, and the host does not know which. Call it through an agent that is attached, or say who calls with `kodex call --caller`.",
    ),
    (
        "tool.input.invalid",
        "The input does not fit the tool's schema. The message names the places; the model may try again.",
    ),
    (
        "tool.output.invalid",
        "The tool gave an output that breaks its own schema. Mend the tool or the schema.",
    ),
    (
        "tool.schema.invalid",
        "A schema of the tool is not usable. Mend it; until then every call of the tool fails.",
    ),
    (
        "tool.unknown",
        "No plugin offers the tool. Check its name; `kodex doctor` shows every tool.",
    ),
    (
        "transfer.behind",
        "Migrations of a plugin are not applied in the store that is to be moved. Run `kodex upgrade` on it first.",
    ),
    (
        "transfer.circle",
        "Tables of a plugin refer to each other in a circle and cannot be copied one after the other. Take one of the references away for the move.",
    ),
    (
        "transfer.differs",
        "A table is not the same after the copy. The target is not usable; report what the message says.",
    ),
    (
        "transfer.no_journal",
        "A plugin has tables in the store that is to be moved, but is not loaded. Install it, as its migrations make the tables again.",
    ),
    (
        "transfer.not_empty",
        "The store to move to holds data already. Name an empty one.",
    ),
    (
        "transfer.same",
        "A store cannot be moved into itself. Name another place.",
    ),
    (
        "upgrade.baseline",
        "The file that was named as the baseline is no pending step. Name one that `kodex upgrade --plan` shows.",
    ),
    (
        "upgrade.busy",
        "Another upgrade is under way. Wait for it; if it was killed, until its lease is over.",
    ),
    (
        "upgrade.lock_lost",
        "The lock of the upgrade went to somebody else. Run `kodex upgrade` again.",
    ),
];

/// Codes of durable work, and why runs and jobs ended, sorted.
const WORK: &[(&str, &str)] = &[
    (
        "agent.invalid",
        "A wish for an agent run has a field that breaks its rule; nothing was stored. The message names the field and the rule.",
    ),
    (
        "agent.queue_full",
        "Too many agent runs of the plugin are unfinished. Ask again when some are done, or raise `work.n_waiting`.",
    ),
    (
        "agent.too_many",
        "One heartbeat or job asked for more than 25 agent runs. Ask for the others in the next one.",
    ),
    (
        "attempts_exhausted",
        "A run or job failed in all its attempts. The message is that of the last one; mend it and retry with `kodex runs retry`.",
    ),
    (
        "cancelled",
        "A run or job ended because somebody asked for it. Nothing has to be done.",
    ),
    (
        "expired",
        "A run or job was not finished within its age. Look why it waited; `work.run_age` and `work.job_age` say how long it may take.",
    ),
    (
        "job.params",
        "The call of a job has no form in JSON. Only a bug does that; report what the message says.",
    ),
    (
        "job.queue_full",
        "Too many jobs of the plugin are unfinished. Ask again when some are done, or raise `work.n_waiting`.",
    ),
    (
        "job.session",
        "The session that a job is about cannot be loaded yet; the job is tried again. The message says why.",
    ),
    (
        "job.unknown",
        "The plugin wants a job that it has no hook for. Declare the hook `job.` with the job's name.",
    ),
    (
        "job.unregistered",
        "The plugin of a job is not loaded here or no longer has its hook; the job is tried again. Load the plugin, or cancel the job.",
    ),
    (
        "lease_ran_out",
        "The process that was at a run or job stopped or was cut off; it is tried again. Nothing has to be done unless it happens often.",
    ),
    (
        "malformed",
        "A stored run or job cannot be read, so it was given up. It was written by another version or by hand.",
    ),
    (
        "poison",
        "A run or job took its process down with it too often, so it was given up. Mend what crashes and retry it.",
    ),
    (
        "run.answer",
        "The answer of an agent cannot be written as JSON. A bug in Kodex or in the embedding program; report it.",
    ),
    (
        "run.blocked",
        "The agent cannot go on until somebody changes something. Do what the message says, then retry the run.",
    ),
    (
        "run.checkpoint",
        "The agent left more for its next slice than is kept. Keep a position in the checkpoint, not the data.",
    ),
    (
        "run.command",
        "The program that executes agent runs cannot be started. Correct `command` under `[runner]`.",
    ),
    (
        "run.deadline",
        "The agent did not finish in time and was ended. Ask for less, or raise `timeout` under `[runner]`.",
    ),
    (
        "run.delivery",
        "The answer of a run could not be brought to its destination. The message says why; a passing trouble is tried again.",
    ),
    (
        "run.destination",
        "This node knows no destination of the run's kind; the run is tried again. Configure the destination here, or let another node take it.",
    ),
    (
        "run.exit",
        "The agent ended with an error. The message has the end of what it wrote.",
    ),
    (
        "run.failed",
        "The agent said that it failed. The message is its own.",
    ),
    (
        "run.flood",
        "The agent wrote more than is read and was ended. Make it write less.",
    ),
    (
        "run.folder",
        "The folder of a run cannot be made or filled; the run is tried again. Look at the space and permissions of the folder for temporary files.",
    ),
    (
        "run.no_runner",
        "No agent is configured that could execute runs. Set `command` under `[runner]`, or call `Builder::runner`, and retry the run.",
    ),
    (
        "run.panicked",
        "The embedder's runner panicked; the run is tried again. Mend the runner.",
    ),
    (
        "run.result",
        "The agent's result file cannot be read. Write it as the guide to durable work says.",
    ),
    (
        "run.try_again",
        "The agent asked to be tried again later. Nothing has to be done.",
    ),
    (
        "ticket.ended",
        "A plugin used the right of a heartbeat or job that is over, or of another plugin; nothing was stored. Ask inside the call, and await the answer there.",
    ),
    (
        "ticket.no_job",
        "A plugin recorded an effect in a heartbeat. Effects belong to jobs.",
    ),
    (
        "work.session",
        "A session was named without its conversation or its own name; nothing was stored. Only an embedder does that.",
    ),
    (
        "work.state",
        "A run or job is in a state in which this cannot be done. The message says what can.",
    ),
    (
        "work.unknown",
        "There is no such run or job. `kodex runs list` shows those that there are.",
    ),
    (
        "work.unstorable",
        "What a run or job came to is too large, or holds what no store takes. The message says what; let it be shorter.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sorted_and_no_code_means_two_things() {
        for table in [RUNTIME, WORK] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        let mut seen = BTreeSet::new();
        for (code, meaning) in codes().into_iter().flat_map(|table| table.codes) {
            assert!(seen.insert(code), "{code} stands in two tables");
            assert!(!meaning.is_empty(), "{code} says nothing");
        }
    }
}
