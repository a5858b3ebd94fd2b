//! The rules: which of a plugin's texts are taken. Pure; a plugin is taken or left out as a whole.

use kodex_plugin::{
    Hook, PluginName, Reply,
    hook::{Contribution, PromptContribute, PromptPart},
};

use super::{ContributedText, LeftOut, TEXT_CHARS, TOTAL_CHARS};

/// The texts of a reply, trimmed; none when it has nothing to say. Otherwise the code of what is wrong.
pub(super) fn texts(reply: &Reply) -> Result<Vec<String>, &'static str> {
    let Some(json) = reply.0.as_ref().filter(|json| !json.is_null()) else {
        return Ok(Vec::new());
    };
    // A list would be read as the fields in their order, which nobody means.
    let value = json.value();
    let lists = |message: &serde_json::Value| !message.is_object();
    let messages = value["messages"].as_array();
    if !value.is_object() || messages.is_some_and(|all| all.iter().any(lists)) {
        return Err("contribute.invalid");
    }
    let contribution: Contribution = json.to().map_err(|_| "contribute.invalid")?;
    let within = |text: &str| match text.trim() {
        "" => Err("contribute.empty_text"),
        text if text.chars().count() > TEXT_CHARS => Err("contribute.long_text"),
        text => Ok(text.to_owned()),
    };
    let messages = contribution.messages.iter();
    messages.map(|message| within(&message.text)).collect()
}

/// What was taken and what was not.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) texts: Vec<ContributedText>,
    pub(super) left_out: Vec<LeftOut>,
}

/// The budget of one part of one prompt. Plugins are added in the order of their names; one that does not fit
/// is left out, and a smaller one after it may still fit.
#[derive(Default)]
pub(super) struct Budget {
    n_chars: usize,
    folded: Folded,
}

impl Budget {
    pub(super) fn add(&mut self, part: PromptPart, plugin: &PluginName, texts: Vec<String>) {
        let n_chars: usize = texts.iter().map(|text| text.chars().count()).sum();
        if self.n_chars + n_chars > TOTAL_CHARS {
            let hook = PromptContribute::NAME;
            tracing::warn!(
                hook,
                plugin = plugin.as_str(),
                ?part,
                n_texts = texts.len(),
                n_chars,
                n_chars_left = TOTAL_CHARS - self.n_chars,
                "left out of the prompt: no room for it"
            );
            return self.leave_out(plugin, "contribute.over_budget".to_owned());
        }
        self.n_chars += n_chars;
        self.folded.texts.extend(numbered(plugin, texts));
    }

    pub(super) fn leave_out(&mut self, plugin: &PluginName, code: String) {
        let plugin = plugin.clone();
        self.folded.left_out.push(LeftOut { plugin, code });
    }

    pub(super) fn folded(self) -> Folded {
        self.folded
    }
}

/// Gives the texts of one plugin their ids.
pub(super) fn numbered(plugin: &PluginName, texts: Vec<String>) -> Vec<ContributedText> {
    let text = |(index, text)| ContributedText {
        id: format!("{}:{plugin}:{index}", PromptContribute::NAME),
        plugin: plugin.clone(),
        text,
    };
    texts.into_iter().enumerate().map(text).collect()
}
