//! The first exchange with a process: versions, names, what both sides can do.

use std::sync::Arc;

use kodex_plugin::{
    Context, Json, Limits, PluginError,
    wire::{
        CONTRACT_VERSION, ContractOffer, HOST_FEATURES, Initialize, Initialized, Party, WireLimits,
        method,
    },
};
use tokio::time::timeout;

use super::{
    link::{Link, Unsent},
    tail::shown,
};
use crate::codes;

const CANCEL: &str = "cancel";
/// How much of a name from the other side goes into an error's text.
const NAME_MAX: usize = 100;

/// Introduces the host and checks who answers.
pub(super) async fn handshake(
    link: &Arc<Link>,
    context: &Context,
    host: &Party,
) -> Result<(), PluginError> {
    let params = params(context, host, &link.limits);
    let span = link.times.handshake;
    // The table's own deadline is later: a late handshake is not a late call.
    let deadline_at = link.clock.now() + span * 2;
    let flight = link
        .request(method::INITIALIZE, &params, deadline_at)
        .map_err(Unsent::into_error)?;
    let answer = timeout(span, flight).await;
    let result = match answer {
        Err(_) => {
            return Err(codes::HANDSHAKE_TIMEOUT.error(format!(
                "the process did not answer \"initialize\" within {span:?}"
            )));
        }
        Ok(Err(error)) => return Err(refused(link, error)),
        Ok(Ok(result)) => result.unwrap_or_default(),
    };
    let initialized: Initialized = result.to().map_err(|error| {
        codes::HANDSHAKE_INVALID.error(format!(
            "the answer to \"initialize\" is not right: {error}"
        ))
    })?;
    check(&initialized, context)?;
    if initialized.contract.features.iter().any(|f| f == CANCEL) {
        link.allow_cancels();
    }
    Ok(())
}

fn params(context: &Context, host: &Party, limits: &Limits) -> String {
    let params = Initialize {
        contract: ContractOffer {
            version: CONTRACT_VERSION,
            features: HOST_FEATURES.iter().map(|f| (*f).to_owned()).collect(),
        },
        host: host.clone(),
        plugin: context.plugin.to_string(),
        context: context.config.clone(),
        grants: context.grants.iter().map(ToString::to_string).collect(),
        limits: WireLimits {
            frame_bytes: limits.frame_bytes,
            depth: limits.depth,
        },
    };
    Json::of(&params).unwrap_or_default().text().to_owned()
}

/// An error of the plugin's own becomes "it cannot start"; what ended the process stays what it is.
fn refused(link: &Link, error: PluginError) -> PluginError {
    if link.is_closed() || error.code.starts_with("worker.") {
        return error;
    }
    codes::HANDSHAKE_REFUSED.error(format!("the plugin cannot start: {}", error.message))
}

fn check(initialized: &Initialized, context: &Context) -> Result<(), PluginError> {
    if initialized.contract.version != CONTRACT_VERSION {
        return Err(codes::HANDSHAKE_VERSION.error(format!(
            "the process speaks contract version {}; this host speaks {CONTRACT_VERSION}",
            initialized.contract.version
        )));
    }
    if initialized.plugin.name != context.plugin.as_str() {
        return Err(codes::HANDSHAKE_NAME.error(format!(
            "the process is the plugin \"{}\"; \"{}\" was asked for",
            shown(&initialized.plugin.name, NAME_MAX),
            context.plugin
        )));
    }
    Ok(())
}
