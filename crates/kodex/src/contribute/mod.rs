//! Texts that plugins add to a prompt: asked for with the hook `prompt.contribute`, held to bounds, kept
//! apart from what the user wrote.
//!
//! The standing part is asked for without a word about session, user or conversation, and a plugin's answer
//! stands until the plugin is loaded anew, so it is the same byte by byte for the same configuration. The
//! part for a turn is asked for as [`TurnInput`] says and kept, so that an input which is delivered again
//! finds the texts that the model saw. Nothing here writes a text into a log: names, counts, sizes and times
//! alone.

mod fold;
mod keep;
mod render;
mod turn;

use kodex_plugin::{
    Diagnostic, Hook, Json, PluginName,
    hook::{ContributionRequest, Origin, PromptContribute, PromptPart},
};

pub(crate) use render::CONTEXT;
pub use turn::{Ask, Turn, TurnInput};

use crate::{
    Runtime,
    dispatch::by_name::{self, Answered},
};

/// Most characters of one text, after trimming.
pub const TEXT_CHARS: usize = 8_000;
/// Most characters of all plugins' texts for one part of one prompt.
pub const TOTAL_CHARS: usize = 16_000;

/// The texts for one part of a prompt, and who was left out.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Contributions {
    /// Which part they are for.
    pub part: PromptPart,
    /// The accepted texts, by plugin name.
    pub texts: Vec<ContributedText>,
    /// The plugins whose texts were left out, by name, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Where the texts come from.
    pub from: Source,
    /// Why a redelivered input would not find them again, where that is so.
    pub finding: Option<Diagnostic>,
}

/// One accepted text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContributedText {
    /// `prompt.contribute:PLUGIN:INDEX`; given by the runtime.
    pub id: String,
    /// Whose it is.
    pub plugin: PluginName,
    /// 1 to [`TEXT_CHARS`] characters, trimmed.
    pub text: String,
}

/// A plugin whose texts are not in the prompt. It never says what they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The plugin.
    pub plugin: PluginName,
    /// The stable code of the reason: `contribute.invalid`, `contribute.empty_text`,
    /// `contribute.long_text`, `contribute.over_budget`, or that of a failed call.
    pub code: String,
}

/// Where texts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The plugins were asked.
    Plugins,
    /// The turn was seen before; these are the texts of then.
    Store,
    /// Nobody was asked, as it should be for such an input.
    Nobody,
}

impl Runtime {
    /// Asks the plugins for their texts for one part of a prompt.
    ///
    /// For the system part only `part` is passed on, whatever else the request holds. For the user part this
    /// always asks; an agent whose inputs may come twice uses [`Runtime::turn_contributions`]. Failures of
    /// plugins never fail it: they stand in [`Contributions::left_out`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// use kodex::{Define, Reply, Runtime};
    /// use kodex::contract::hook::{ContributionRequest, Origin, PromptPart};
    /// use serde_json::json;
    ///
    /// let style = Define::new("style", "0.1.0", "Says how to write.")
    ///     .hook("prompt.contribute", |request| {
    ///         let text = match request.payload.value()["part"].as_str() {
    ///             Some("system") => "Write short sentences.",
    ///             _ => return Ok(Reply::nothing()),
    ///         };
    ///         Ok(Reply::from(json!({"messages": [{"text": text}]})))
    ///     })
    ///     .build()?;
    /// let runtime = Runtime::builder().native(style).build().await?;
    /// let request = ContributionRequest { origin: Origin::default(), part: PromptPart::System, prompt: None };
    /// let system = runtime.contributions(&request).await;
    /// assert_eq!(system.texts[0].id, "prompt.contribute:style:0");
    /// assert!(system.below("You are a coding agent.").starts_with("You are a coding agent.\n\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub async fn contributions(&self, request: &ContributionRequest) -> Contributions {
        let folded = match request.part {
            PromptPart::System => self.standing().await,
            PromptPart::User => self.for_turn(request).await,
        };
        Contributions {
            part: request.part,
            texts: folded.texts,
            left_out: folded.left_out,
            from: Source::Plugins,
            finding: None,
        }
    }

    /// The standing part: those are asked whose answer is not known yet.
    async fn standing(&self) -> fold::Folded {
        let shared = self.shared();
        let current = self.current();
        let Ok(route) = current.catalog.route(PromptContribute::NAME, &shared.guard) else {
            return fold::Folded::default();
        };
        let all = by_name::named(&route);
        let unknown: Vec<_> = all
            .iter()
            .copied()
            .filter(|to| to.slot.standing.get().is_none())
            .collect();
        let payload = payload(&ContributionRequest {
            origin: Origin::default(),
            part: PromptPart::System,
            prompt: None,
        });
        let asked = by_name::ask(shared, PromptContribute::NAME, &unknown, &payload).await;
        let mut failed = Vec::new();
        for answered in asked {
            match said(PromptPart::System, &answered) {
                // The first answer stands, also when two were under way.
                Ok(texts) => drop(answered.slot.standing.set(texts)),
                Err(code) => failed.push((answered.slot.name.clone(), code)),
            }
        }
        let mut budget = fold::Budget::default();
        for to in all {
            let plugin = &to.slot.name;
            let refused = failed.iter().find(|(name, _)| name == plugin);
            match (to.slot.standing.get(), refused) {
                (Some(texts), _) => budget.add(PromptPart::System, plugin, texts.clone()),
                (None, Some((_, code))) => budget.leave_out(plugin, code.clone()),
                (None, None) => {}
            }
        }
        budget.folded()
    }

    async fn for_turn(&self, request: &ContributionRequest) -> fold::Folded {
        let shared = self.shared();
        let current = self.current();
        let Ok(route) = current.catalog.route(PromptContribute::NAME, &shared.guard) else {
            return fold::Folded::default();
        };
        let payload = payload(request);
        let all = by_name::named(&route);
        let mut budget = fold::Budget::default();
        for answered in by_name::ask(shared, PromptContribute::NAME, &all, &payload).await {
            match said(PromptPart::User, &answered) {
                Ok(texts) => budget.add(PromptPart::User, &answered.slot.name, texts),
                Err(code) => budget.leave_out(&answered.slot.name, code),
            }
        }
        budget.folded()
    }
}

/// The request as a document. One that cannot be written says at least which part it is about.
fn payload(request: &ContributionRequest) -> Json {
    Json::of(request).unwrap_or_else(|_| {
        let part = match request.part {
            PromptPart::System => "system",
            PromptPart::User => "user",
        };
        Json::from(serde_json::json!({ "part": part }))
    })
}

/// What one plugin said, within the bounds of a text, or the code of why it is left out. Logged here, without
/// a word of it.
fn said(part: PromptPart, answered: &Answered) -> Result<Vec<String>, String> {
    let Answered { slot, result, took } = answered;
    let texts = match result {
        Ok(reply) => fold::texts(reply).map_err(str::to_owned),
        Err(error) => Err(error.code.to_string()),
    };
    let (plugin, hook, took_ms) = (slot.name.as_str(), PromptContribute::NAME, took.as_millis());
    match &texts {
        Ok(texts) => {
            let n_chars: usize = texts.iter().map(|text| text.chars().count()).sum();
            tracing::debug!(
                hook,
                plugin,
                ?part,
                n_texts = texts.len(),
                n_chars,
                took_ms,
                "answered for the prompt"
            );
        }
        Err(code) => tracing::warn!(hook, plugin, ?part, %code, took_ms, "left out of the prompt"),
    }
    texts
}
