//! What a plugin declares, as a part of a text that many share: of a thousand known plugins the
//! cache's text is kept once, and nothing of it is copied.

use std::{fmt, ops::Range, sync::Arc};

use kodex_plugin::Json;

/// A manifest in JSON form, not yet parsed.
#[derive(Clone)]
pub struct Declaration {
    whole: Arc<String>,
    part: Range<usize>,
}

impl Declaration {
    /// The bytes of `part` of a text; nothing when they do not lie in it.
    pub(super) fn within(whole: &Arc<String>, part: &str) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let part = start..start + part.len();
        whole.get(part.clone())?;
        Some(Self {
            whole: Arc::clone(whole),
            part,
        })
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        // Checked when it was made.
        self.whole.get(self.part.clone()).unwrap_or_default()
    }
}

impl From<Json> for Declaration {
    fn from(json: Json) -> Self {
        let text = json.text().to_owned();
        Self {
            part: 0..text.len(),
            whole: Arc::new(text),
        }
    }
}

impl fmt::Debug for Declaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_of_the_text_that_it_was_taken_from() {
        let whole = Arc::new("before {} after".to_owned());
        let part = Declaration::within(&whole, &whole[7..9]).expect("a part");
        assert_eq!(part.text(), "{}");
        assert!(Declaration::within(&whole, "elsewhere").is_none());
    }
}
