//! One binary for the integration tests of the runtime.

mod contribute;
mod dispatch;
mod guard;
#[cfg(feature = "worker")]
mod python;
mod reload;
mod report;
#[cfg(all(feature = "sqlite", feature = "postgres"))]
mod stored;
mod tools;
#[cfg(all(feature = "sqlite", feature = "postgres", feature = "worker"))]
mod work;

use std::sync::Arc;

use kodex::{Define, Json, Plugin, PluginError, Reply, Runtime};

/// A runtime of native plugins.
async fn runtime(plugins: Vec<Arc<dyn Plugin>>) -> Runtime {
    let mut builder = Runtime::builder();
    for plugin in plugins {
        builder = builder.native(plugin);
    }
    builder.build().await.expect("native plugins always load")
}

/// A plugin whose answer on a hook is described by a word: `nothing`, `raise`, `panic`, `echo`,
/// or a JSON document.
fn plugin(name: &str, hook: &str, word: &'static str) -> Arc<dyn Plugin> {
    Define::new(name, "1.0.0", "A plugin for tests.")
        .hook(hook, move |request| match word {
            "nothing" => Ok(Reply::nothing()),
            "raise" => Err(PluginError::raised("no luck")),
            "panic" => panic!("on purpose"),
            "echo" => Ok(Reply::from(request.payload.clone())),
            json => Ok(Reply::from(
                serde_json::from_str::<serde_json::Value>(json).expect("JSON"),
            )),
        })
        .build()
        .expect("a good name")
}

fn json(text: &str) -> Json {
    Json::parse(text, &kodex::Limits::default()).expect("JSON")
}
