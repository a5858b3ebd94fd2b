//! Native plugins that do next to nothing, so that what is measured is the way to them.

use std::sync::Arc;

use anyhow::Result;
use kodex::{Define, Plugin, Reply, Runtime};
use serde_json::{Value, json};

/// The hook that is dispatched.
pub(crate) const HOOK: &str = "prompt.preprocess";
/// A hook that nobody dispatches.
const ELSEWHERE: &str = "other.hook";

/// 200 bytes as text.
pub(crate) fn payload() -> Value {
    json!({"text": "x".repeat(178), "n": 1})
}

/// What each handler does: a length and a sum. A number as a reply allocates nothing.
pub(crate) fn answer(own: u64, payload: &Value) -> Value {
    Value::from(own + payload["text"].as_str().map_or(0, |text| text.len() as u64))
}

fn plugin(index: usize, hook: &str) -> Result<Arc<dyn Plugin>> {
    let answer = move |request: kodex::Request<'_>| {
        Ok(Reply::from(answer(index as u64, request.payload.value())))
    };
    Ok(Define::new(&format!("p{index}"), "1.0.0", "Counts.")
        .hook(hook, answer)
        .build()?)
}

/// A runtime with plugins on the hook and plugins elsewhere.
pub(crate) async fn runtime(n_on_hook: usize, n_elsewhere: usize) -> Result<Runtime> {
    let mut builder = Runtime::builder();
    for index in 0..n_on_hook + n_elsewhere {
        let hook = if index < n_on_hook { HOOK } else { ELSEWHERE };
        builder = builder.native(plugin(index, hook)?);
    }
    Ok(builder.build().await?)
}
