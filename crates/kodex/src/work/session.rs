//! Sessions that have ended: which jobs they trigger, and what those may know of them.

use kodex_plugin::wire::work::{
    Authority, SessionMessage, SessionProjection, SessionRole, Visibility,
};
use serde::{Deserialize, Serialize};

use super::{Works, runner::Pending};

/// The name of the job that the end of a session triggers: plugins that want it have the hook
/// `job.session.completed`.
pub(super) const COMPLETED: &str = "session.completed";
/// Longest text of one message or tool answer, in characters; longer ones are cut.
const TEXT_CHARS: usize = 16_000;
/// Most messages, and most tools.
const N_MESSAGES: usize = 200;

/// A session that has ended. References alone: what was said is loaded when a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRef {
    /// The conversation.
    pub conversation_id: String,
    /// The exchange inside it that has ended.
    pub session_id: String,
}

/// Where an embedder keeps its sessions.
pub trait Sessions: Send + Sync + 'static {
    /// What was said in a session that has ended. An error, as for one that is missing or has not ended, is
    /// tried again.
    fn load<'a>(
        &'a self,
        session: &'a SessionRef,
    ) -> Pending<'a, Result<SessionProjection, String>>;
}

/// What a job may know of a session: the current turn, cleaned.
pub(super) async fn load(works: &Works, session: &SessionRef) -> Result<SessionProjection, String> {
    let sessions = works.sessions.as_ref();
    let sessions =
        sessions.ok_or("this runtime was given no sessions; call `Builder::sessions`")?;
    let loaded = sessions.load(session).await?;
    if loaded.conversation_id != session.conversation_id || loaded.session_id != session.session_id
    {
        return Err("the session that was loaded is another one".to_owned());
    }
    if loaded.completed_at_ms == 0 {
        return Err("the session has not ended".to_owned());
    }
    if loaded.source.is_none() {
        return Err("the session has no source".to_owned());
    }
    Ok(clean(loaded))
}

/// Keeps what a plugin may see, and as much as is good for it.
fn clean(mut session: SessionProjection) -> SessionProjection {
    let (is_public, ended_at) = (
        session.visibility == Visibility::Public,
        session.completed_at_ms,
    );
    session.messages.retain(|message| {
        let was_there = message.at_ms.is_none_or(|at| at <= ended_at);
        // Other messages of a private conversation are nobody's business.
        let may_be_seen = message.authority == Authority::Instruction
            || message.role == SessionRole::Assistant
            || is_public;
        was_there && may_be_seen
    });
    session.messages.iter_mut().for_each(clean_message);
    session.messages.dedup();
    session.messages.truncate(N_MESSAGES);
    session.tools.truncate(N_MESSAGES);
    for tool in &mut session.tools {
        tool.text = tool.text.take().map(|text| clean_text(&text));
    }
    session
}

fn clean_message(message: &mut SessionMessage) {
    let text = match message.authority {
        // What somebody quotes is not what they wish.
        Authority::Instruction => without_quotes(&message.text),
        Authority::Context => message.text.clone(),
    };
    message.text = clean_text(&text);
}

/// Removes blocks in which the host wraps other people's words, and lines that quote.
fn without_quotes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once("<context>") {
        out.push_str(before);
        rest = inside
            .split_once("</context>")
            .map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    let own = out
        .lines()
        .filter(|line| !line.trim_start().starts_with('>'));
    own.collect::<Vec<_>>().join("\n")
}

/// Removes NUL, replaces what looks like encoded data, cuts.
fn clean_text(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    let cleaned: String = words
        .map(|word| if is_encoded(word) { "[data] " } else { word })
        .collect();
    cleaned.replace('\0', "").chars().take(TEXT_CHARS).collect()
}

/// Whether a word is data and no language: a data address, or a long run of base64 that has upper case,
/// lower case and digits.
fn is_encoded(word: &str) -> bool {
    let word = word.trim();
    if word.contains("data:") && word.contains(";base64,") {
        return true;
    }
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_');
    let run = word.trim_matches(|c: char| !is_base64(c));
    run.len() >= 200
        && run.chars().all(is_base64)
        && run.chars().any(|c| c.is_ascii_uppercase())
        && run.chars().any(|c| c.is_ascii_lowercase())
        && run.chars().any(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(
        role: SessionRole,
        authority: Authority,
        text: &str,
        at_ms: Option<u64>,
    ) -> SessionMessage {
        SessionMessage {
            role,
            text: text.to_owned(),
            authority,
            actor: None,
            at_ms,
        }
    }

    #[test]
    fn a_private_session_shows_its_own_turn_alone() {
        use {Authority::*, SessionRole::*};
        let session = |visibility| SessionProjection {
            completed_at_ms: 100,
            visibility,
            messages: vec![
                message(User, Context, "earlier", Some(10)),
                message(
                    User,
                    Instruction,
                    "mine\n> quoted\n<context>theirs</context> end",
                    Some(50),
                ),
                message(Assistant, Context, "answer", Some(60)),
                message(User, Instruction, "later", Some(101)),
            ],
            ..SessionProjection::default()
        };
        let texts = |session: SessionProjection| {
            let texts = session.messages.into_iter().map(|message| message.text);
            texts.collect::<Vec<_>>()
        };
        assert_eq!(
            texts(clean(session(Visibility::Private))),
            ["mine\n end", "answer"]
        );
        assert_eq!(
            texts(clean(session(Visibility::Public))),
            ["earlier", "mine\n end", "answer"]
        );
    }

    #[test]
    fn data_is_replaced_and_language_is_not() {
        let long = "aB3".repeat(100);
        for (text, want) in [
            ("plain words stay", "plain words stay"),
            ("a\0b", "ab"),
            ("see data:image/png;base64,AAAA here", "see [data] here"),
            (&format!("x {long} y"), "x [data] y"),
            (&"a".repeat(300), &"a".repeat(300)),
        ] {
            assert_eq!(clean_text(text), want);
        }
        assert_eq!(
            clean_text(&"word ".repeat(10_000)).chars().count(),
            TEXT_CHARS
        );
    }
}
