//! The standard plugin in its native form.

use std::sync::{Arc, Mutex, PoisonError};

use kodex_plugin::{
    Call, Context, Host, HostError, Json, Manifest, NameError, Plugin, PluginError, PluginName,
    Reply, Request, RequestKind,
    host::{LogLevel, NoHost},
    manifest::{Run, Version},
};
use serde_json::{Value, json};

/// Makes the standard plugin as native code.
///
/// # Errors
/// Never: its name follows the rule.
pub fn native() -> Result<Arc<dyn Plugin>, NameError> {
    let name = PluginName::new("suite")?;
    Ok(Arc::new(Standard {
        manifest: Manifest::new(
            name,
            Version::new("0.1.0"),
            "Answers what the suite asks.",
            Run::Native,
        ),
        host: Mutex::new(Arc::new(NoHost)),
    }))
}

struct Standard {
    manifest: Manifest,
    host: Mutex<Arc<dyn Host>>,
}

impl Standard {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Plugin for Standard {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn activate(&self, context: Context) -> Call<'_, ()> {
        *self.host.lock().unwrap_or_else(PoisonError::into_inner) = context.host;
        Call::Ready(Ok(()))
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        match (request.kind, request.name) {
            (RequestKind::Hook, "slow") => Call::pending(std::future::pending()),
            (RequestKind::Hook, "clock") => {
                let host = self.host();
                Call::pending(async move {
                    let now = host.request("clock/now", Json::object()).await;
                    now.map(Reply::from)
                        .map_err(|error: HostError| PluginError::raised(error.message))
                })
            }
            _ => Call::Ready(self.answer(&request)),
        }
    }
}

impl Standard {
    fn answer(&self, request: &Request<'_>) -> Result<Reply, PluginError> {
        match (request.kind, request.name) {
            (RequestKind::Hook, "echo") => Ok(Reply(Some(request.payload.clone()))),
            (RequestKind::Hook, "null") => Ok(Reply::from(Value::Null)),
            (RequestKind::Hook, "raise") => Err(PluginError::raised("it went wrong")),
            (RequestKind::Hook, "big") => Ok(Reply::from(json!("x".repeat(200_000)))),
            (RequestKind::Hook, "log") => {
                let fields = Json::from(json!({"n": 1}));
                self.host().log(LogLevel::Warning, "seen", &fields);
                Ok(Reply::nothing())
            }
            (RequestKind::Tool, "add") => {
                let input = request.payload.value();
                match (input["a"].as_i64(), input["b"].as_i64()) {
                    (Some(a), Some(b)) => Ok(Reply::from(json!({"sum": a.wrapping_add(b)}))),
                    _ => Err(PluginError::domain("a and b must be whole numbers")),
                }
            }
            _ => Ok(Reply::nothing()),
        }
    }
}
