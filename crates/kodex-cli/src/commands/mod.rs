//! The verbs: one file each, one row each.

use crate::verb::{Row, row};

pub(crate) mod call;
pub(crate) mod capabilities;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod emit;
pub(crate) mod explain;
pub(crate) mod heartbeat;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod permissions;
pub(crate) mod reload;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod scaffold;
pub(crate) mod schedule;
pub(crate) mod serve;
pub(crate) mod sessions;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod upgrade;

/// Every verb, in the order of the help.
pub(crate) const VERBS: &[Row] = &[
    row::<list::List>(),
    row::<capabilities::Capabilities>(),
    row::<emit::Emit>(),
    row::<call::Call>(),
    row::<doctor::Doctor>(),
    row::<report::Report>(),
    row::<check::Check>(),
    row::<explain::Explain>(),
    row::<dev::Dev>(),
    row::<permissions::Permissions>(),
    row::<upgrade::Upgrade>(),
    row::<state::State>(),
    row::<store::Store>(),
    row::<schedule::Schedule>(),
    row::<serve::Serve>(),
    row::<status::Status>(),
    row::<reload::Reload>(),
    row::<heartbeat::Heartbeat>(),
    row::<runs::Runs>(),
    row::<sessions::Sessions>(),
    row::<scaffold::Scaffold>(),
    row::<completions::Completions>(),
    row::<man::Man>(),
];
