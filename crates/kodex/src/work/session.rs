//! Sessions that have ended: which jobs they trigger, and what those may know of them.

use kodex_plugin::wire::work::{
    Authority, SessionMessage, SessionProjection, SessionRole, Visibility,
};
use serde::{Deserialize, Serialize};

use super::{Works, runner::Pending};
use crate::contribute;

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

/// The jobs that follow a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followers {
    /// Their ids, those of the first time when it was said before.
    pub ids: Vec<String>,
    /// How many of them are new.
    pub n_added: usize,
}

/// What a job may know of a session: the current turn, cleaned.
pub(super) async fn load(works: &Works, session: &SessionRef) -> Result<SessionProjection, String> {
    let sessions = works.sessions.as_ref();
    let sessions =
        sessions.ok_or("this runtime was given no sessions; call `Builder::sessions`")?;
    let loaded = sessions.load(session).await?;
    sound(loaded, session)
}

/// A session that has ended, cleaned.
pub(super) fn sound(
    loaded: SessionProjection,
    session: &SessionRef,
) -> Result<SessionProjection, String> {
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

/// Longest texts, in characters, that are tried one after the other until a session fits into a job.
const FITTING: &[usize] = &[TEXT_CHARS, 4_000, 1_000, 250, 50];
/// What a job may hold, less what stands beside the session.
const KEPT_BYTES: usize = kodex_store::queue::PAYLOAD_BYTES - (16 << 10);

/// The same with texts as long as a job can keep them.
pub(super) fn fitting(mut session: SessionProjection) -> SessionProjection {
    for n_chars in FITTING {
        let cut = |text: &mut String| {
            if let Some((at, _)) = text.char_indices().nth(*n_chars) {
                text.truncate(at);
            }
        };
        session
            .messages
            .iter_mut()
            .for_each(|one| cut(&mut one.text));
        let texts = session.tools.iter_mut();
        texts.filter_map(|tool| tool.text.as_mut()).for_each(cut);
        let written = serde_json::to_string(&session);
        if written.is_ok_and(|json| json.len() <= KEPT_BYTES) {
            break;
        }
    }
    session
}

/// Keeps what a plugin may see, and as much as is good for it.
fn clean(mut session: SessionProjection) -> SessionProjection {
    let (began_at, ended_at) = (session.began_at_ms, session.completed_at_ms);
    let is_public = session.visibility == Visibility::Public;
    let mut has_begun = false;
    session.messages.retain_mut(|message| {
        let is_wish = message.authority == Authority::Instruction;
        // Without a time the turn begins with the first wish in it.
        let is_earlier = match (began_at, message.at_ms) {
            (0, _) | (_, None) => !has_begun && !is_wish,
            (began_at, Some(at)) => at < began_at,
        };
        has_begun |= !is_earlier;
        if is_earlier {
            message.authority = Authority::Context;
        }
        let was_there = message.at_ms.is_none_or(|at| at <= ended_at);
        // Other messages of a private conversation are nobody's business.
        let is_own =
            message.authority == Authority::Instruction || message.role == SessionRole::Assistant;
        was_there && (is_public || !is_earlier && is_own)
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

/// The elements in which hosts wrap what the person did not write: other people's words, and what plugins add.
const ELEMENTS: [&str; 2] = ["context", contribute::CONTEXT];

/// Removes wrapped blocks, nested ones too, and lines that quote. A block that is not closed goes on to the end.
fn without_quotes(text: &str) -> String {
    let mut out = text.to_owned();
    for element in ELEMENTS {
        out = without_blocks(&out, &format!("<{element}"), &format!("</{element}>"));
    }
    let own = out
        .lines()
        .filter(|line| !line.trim_start().starts_with('>'));
    own.collect::<Vec<_>>().join("\n")
}

fn without_blocks(text: &str, open: &str, close: &str) -> String {
    let mut out = String::new();
    let (mut depth, mut rest) = (0_usize, text);
    loop {
        let opens = begin_of(rest, open);
        let closes = rest.find(close);
        let (at, skipped) = match (opens, closes) {
            (Some(opens), closes) if closes.is_none_or(|closes| opens < closes) => {
                (opens, open.len())
            }
            (_, Some(closes)) => (closes, close.len()),
            _ => break,
        };
        if depth == 0 {
            out.push_str(&rest[..at]);
        }
        let is_open = opens == Some(at);
        depth = if is_open {
            depth + 1
        } else {
            depth.saturating_sub(1)
        };
        rest = &rest[at + skipped..];
    }
    if depth == 0 {
        out.push_str(rest);
    }
    out
}

/// Where a tag begins, with attributes or without.
fn begin_of(text: &str, open: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].find(open).map(|at| from + at) {
        from = at + open.len();
        if text[from..].starts_with(|c: char| c == '>' || c.is_whitespace()) {
            return Some(at);
        }
    }
    None
}

/// Removes NUL, replaces what is encoded data, cuts.
fn clean_text(text: &str) -> String {
    let cleaned = without_data(text);
    cleaned.replace('\0', "").chars().take(TEXT_CHARS).collect()
}

/// Shorter runs may be names, longer ones are data.
const DATA_BYTES: usize = 200;
/// Data that is broken into lines has lines at least that long.
const DATA_LINE_BYTES: usize = 60;

/// Replaces data addresses and long runs of base64, wherever they stand.
fn without_data(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut from, mut at) = (0, 0);
    while at < bytes.len() {
        if !is_base64(bytes[at]) {
            at += 1;
            continue;
        }
        let end = end_of_data(bytes, at);
        let before = &text[from..at];
        let address = before
            .ends_with(";base64,")
            .then(|| before.rfind("data:"))
            .flatten();
        if address.is_some() || is_data(&bytes[at..end]) {
            out.push_str(&before[..address.unwrap_or(before.len())]);
            out.push_str("[data]");
            from = end;
        }
        at = end;
    }
    out.push_str(&text[from..]);
    out
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte)
}

/// The end of a run of base64; line breaks between full lines belong to it.
fn end_of_data(bytes: &[u8], begin: usize) -> usize {
    let (mut line, mut at) = (begin, begin);
    loop {
        while bytes.get(at).is_some_and(|byte| is_base64(*byte)) {
            at += 1;
        }
        let next = match bytes[at..] {
            [b'\r', b'\n', ..] => at + 2,
            [b'\n', ..] => at + 1,
            _ => return at,
        };
        if at - line < DATA_LINE_BYTES || !bytes.get(next).is_some_and(|byte| is_base64(*byte)) {
            return at;
        }
        (line, at) = (next, next);
    }
}

/// Language in one script has no such runs with upper case, lower case and digits.
fn is_data(run: &[u8]) -> bool {
    run.len() >= DATA_BYTES
        && run.iter().any(u8::is_ascii_uppercase)
        && run.iter().any(u8::is_ascii_lowercase)
        && run.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use kodex_plugin::wire::work::SessionTool;

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
    fn what_was_said_before_the_turn_is_context_or_nothing() {
        use {Authority::*, SessionRole::*};
        let check = |began_at_ms, visibility, want: &[(&str, Authority)]| {
            let session = clean(SessionProjection {
                began_at_ms,
                completed_at_ms: 100,
                visibility,
                messages: vec![
                    message(User, Instruction, "old wish", Some(10)),
                    message(Assistant, Context, "old answer", Some(20)),
                    message(User, Instruction, "wish", Some(50)),
                    message(Assistant, Context, "answer", Some(60)),
                ],
                ..SessionProjection::default()
            });
            let messages = session.messages.iter();
            let got: Vec<_> = messages
                .map(|message| (message.text.as_str(), message.authority))
                .collect();
            assert_eq!(got, want);
        };
        let turn = [("wish", Instruction), ("answer", Context)];
        check(50, Visibility::Private, &turn);
        let old = [("old wish", Context), ("old answer", Context)];
        check(50, Visibility::Public, &[old, turn].concat());
        let all = [("old wish", Instruction), ("old answer", Context)];
        check(0, Visibility::Private, &[all, turn].concat());
    }

    #[test]
    fn without_a_time_a_turn_begins_with_its_first_wish() {
        use {Authority::*, SessionRole::*};
        let session = clean(SessionProjection {
            completed_at_ms: 100,
            messages: vec![
                message(Assistant, Context, "old answer", None),
                message(User, Instruction, "wish", None),
                message(Assistant, Context, "answer", None),
            ],
            ..SessionProjection::default()
        });
        let texts: Vec<_> = session
            .messages
            .iter()
            .map(|one| one.text.as_str())
            .collect();
        assert_eq!(texts, ["wish", "answer"]);
    }

    #[test]
    fn wrapped_words_are_no_wish_however_deep() {
        for (text, want) in [
            ("a<context>b</context>c", "ac"),
            ("a<context>b<context>c</context>d</context>e", "ae"),
            ("a<context from=\"b\">c</context>d", "ad"),
            ("a<plugin-context>b</plugin-context>c", "ac"),
            ("a<context>b<plugin-context>c</context>d", "ad"),
            ("a<context>b", "a"),
            ("a</context>b", "ab"),
            ("a<contexts>b", "a<contexts>b"),
            ("a\n > b\nc", "a\nc"),
        ] {
            assert_eq!(without_quotes(text), want, "{text}");
        }
    }

    #[test]
    fn messages_and_tools_are_cleaned() {
        let data = "aB3".repeat(100);
        let session = clean(SessionProjection {
            completed_at_ms: 100,
            messages: vec![message(
                SessionRole::User,
                Authority::Instruction,
                &format!("see {data}"),
                None,
            )],
            tools: vec![SessionTool {
                name: "look".to_owned(),
                is_error: false,
                text: Some(format!("{{\"image\":\"{data}\"}}")),
            }],
            ..SessionProjection::default()
        });
        assert_eq!(session.messages[0].text, "see [data]");
        assert_eq!(
            session.tools[0].text.as_deref(),
            Some("{\"image\":\"[data]\"}")
        );
    }

    /// Data as mails have it.
    fn wrapped(data: &str) -> String {
        let lines = data.as_bytes().chunks(76);
        let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
        lines.collect::<String>() + "."
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
            (&format!("{{\"a\":\"{long}\"}}"), "{\"a\":\"[data]\"}"),
            (&format!("x\n{}y", wrapped(&long)), "x\n[data]\n.y"),
            (
                "<img src=\"data:image/png;base64,iVBO\">",
                "<img src=\"[data]\">",
            ),
        ] {
            assert_eq!(clean_text(text), want);
        }
        assert_eq!(
            clean_text(&"word ".repeat(10_000)).chars().count(),
            TEXT_CHARS
        );
    }
}
