//! What plugins said for a turn, kept in the store until the turn is surely over, so that a redelivered input
//! uses it and nobody is asked twice.
//!
//! The key is a digest of session, turn and text, so the store's keys say nothing about them.

use kodex_plugin::{
    Diagnostic, PluginName,
    clock::millis,
    hook::{ContributionRequest, PromptPart},
};
use kodex_store::{
    Store, StoreError,
    state::{MAX_TTL_MS, OnlyIf, Write, Written},
};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use sha2::{Digest as _, Sha256};

use super::{Ask, ContributedText, Contributions, Source, Turn, fold};
use crate::{Runtime, load::own_name};

/// Texts by plugin as they are kept. Ids are made anew: an index needs no room.
#[derive(Serialize, Deserialize)]
struct Kept {
    plugin: String,
    texts: Vec<String>,
}

impl Runtime {
    /// The plugins' texts for one input of a turn. Each input asks them at most once: the texts are kept under
    /// session, turn and prompt, and an input that is delivered again gets the same ones.
    ///
    /// A runtime without a store, and a turn without an id, say so in [`Contributions::finding`] and ask each
    /// time. Nothing fails this: an agent's turn goes on whatever plugins or store do.
    pub async fn turn_contributions(&self, turn: &Turn) -> Contributions {
        let ask = turn.input.ask();
        if ask == Ask::Never {
            return from(Source::Nobody, Vec::new());
        }
        let place = self.place_of(turn);
        let mut finding = None;
        match &place {
            Ok((store, key)) => match read(&**store, key).await {
                Ok(Some(texts)) => return from(Source::Store, texts),
                Ok(None) => {}
                Err(error) => finding = Some(failed(&error)),
            },
            Err(missing) => finding = Some(missing.clone()),
        }
        if ask == Ask::Replay {
            return Contributions {
                finding: finding.or_else(|| Some(gone())),
                ..from(Source::Nobody, Vec::new())
            };
        }
        let asked = self
            .contributions(&ContributionRequest {
                origin: turn.origin.clone(),
                part: PromptPart::User,
                prompt: Some(turn.prompt.clone()),
            })
            .await;
        let Ok((store, key)) = place else {
            return Contributions { finding, ..asked };
        };
        match write(&*store, &key, &asked.texts, turn).await {
            // The same input was at work twice; the model sees what was there first.
            Ok(Some(texts)) => from(Source::Store, texts),
            Ok(None) => asked,
            Err(error) => Contributions {
                finding: Some(failed(&error)),
                ..asked
            },
        }
    }

    /// Forgets what is kept for an input, for agents that know that its turn is over. Says whether there was
    /// something.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub async fn forget_contributions(&self, turn: &Turn) -> Result<bool, StoreError> {
        let Ok((store, key)) = self.place_of(turn) else {
            return Ok(false);
        };
        let delete = Write {
            key: &key,
            value: None,
            ttl_ms: None,
            only_if: OnlyIf::Always,
            under: None,
        };
        let written = store.state().write(&own_name(), &delete).await?;
        Ok(matches!(written, Written::Done { version } if version > 0))
    }

    fn place_of(&self, turn: &Turn) -> Result<(std::sync::Arc<dyn Store>, String), Diagnostic> {
        let store = self.shared().store.clone().ok_or_else(|| {
            let text = "the runtime was given no store, so an input that is delivered again asks the plugins again";
            Diagnostic::note("contribute.no_store", text)
        })?;
        let turn_id = turn.origin.turn_id.as_deref().ok_or_else(|| {
            let text =
                "the turn has no id, so an input that is delivered again asks the plugins again";
            Diagnostic::note("contribute.no_turn", text)
        })?;
        let session = turn.origin.session_id.as_deref().unwrap_or_default();
        Ok((store, key(session, turn_id, &turn.prompt)))
    }
}

fn key(session: &str, turn: &str, prompt: &str) -> String {
    let mut digest = Sha256::new();
    for part in [session, turn, prompt] {
        // With their lengths, so that no two ways of cutting a text give one key.
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let hex = digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("contribute/{hex}")
}

async fn read(store: &dyn Store, key: &str) -> Result<Option<Vec<ContributedText>>, StoreError> {
    let found = store.state().read(&own_name(), key).await?;
    // What nobody can read counts as not there; the plugins are asked again.
    let kept = found.and_then(|entry| serde_json::from_str::<Vec<Kept>>(entry.value.get()).ok());
    Ok(kept.map(|kept| kept.into_iter().flat_map(texts_of).collect()))
}

fn texts_of(kept: Kept) -> Vec<ContributedText> {
    PluginName::lenient(kept.plugin)
        .map(|plugin| fold::numbered(&plugin, kept.texts))
        .unwrap_or_default()
}

/// Keeps the texts; gives those that were there first, where somebody was faster.
async fn write(
    store: &dyn Store,
    key: &str,
    texts: &[ContributedText],
    turn: &Turn,
) -> Result<Option<Vec<ContributedText>>, StoreError> {
    let mut kept: Vec<Kept> = Vec::new();
    for text in texts {
        match kept
            .last_mut()
            .filter(|last| last.plugin == text.plugin.as_str())
        {
            Some(last) => last.texts.push(text.text.clone()),
            None => kept.push(Kept {
                plugin: text.plugin.to_string(),
                texts: vec![text.text.clone()],
            }),
        }
    }
    let value = to_raw_value(&kept).ok();
    let write = Write {
        key,
        value: value.as_deref(),
        ttl_ms: Some(millis(turn.keep_for).clamp(1, MAX_TTL_MS)),
        only_if: OnlyIf::Absent,
        under: None,
    };
    match store.state().write(&own_name(), &write).await? {
        Written::Done { .. } => Ok(None),
        Written::Refused { .. } => read(store, key).await,
    }
}

fn from(source: Source, texts: Vec<ContributedText>) -> Contributions {
    Contributions {
        part: PromptPart::User,
        texts,
        left_out: Vec::new(),
        from: source,
        finding: None,
    }
}

fn failed(error: &StoreError) -> Diagnostic {
    tracing::warn!(code = error.code(), "contributions are not kept: {error}");
    let text = format!("what plugins contributed is not kept for a redelivery: {error}");
    Diagnostic::warning("contribute.not_kept", text)
}

fn gone() -> Diagnostic {
    let text = "the turn was resumed after its checkpoint, and what plugins contributed is no longer there";
    Diagnostic::warning("contribute.gone", text)
}
