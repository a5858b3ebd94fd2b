//! Tickets: the right of one heartbeat or job to ask for agent runs and to record effects. A ticket ends
//! with its call, so that code which goes on after its time was over changes nothing any more.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use kodex_plugin::{HostError, PluginName, wire::work::bounds};
use kodex_store::queue::JobLease;

use crate::register::lock;

/// The tickets of the calls that are under way.
#[derive(Default)]
pub(crate) struct Tickets {
    last: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

struct Open {
    plugin: PluginName,
    /// The job that is run, where it is one.
    job: Option<JobLease>,
    n_dispatches: u32,
}

/// A ticket; it ends when this is dropped.
pub(crate) struct Ticket<'a> {
    tickets: &'a Tickets,
    pub(crate) number: u64,
}

impl Tickets {
    pub(crate) fn issue(&self, plugin: &PluginName, job: Option<&JobLease>) -> Ticket<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let open = Open {
            plugin: plugin.clone(),
            job: job.cloned(),
            n_dispatches: 0,
        };
        lock(&self.open).insert(number, open);
        Ticket {
            tickets: self,
            number,
        }
    }

    /// Counts one run against a ticket. Called when the request is known to be valid.
    pub(crate) fn count_dispatch(&self, plugin: &PluginName, number: u64) -> Result<(), HostError> {
        let mut open = lock(&self.open);
        let ticket = living(&mut open, plugin, number)?;
        if ticket.n_dispatches >= bounds::N_DISPATCHES {
            let text = format!(
                "plugin {plugin} asked for {} agent runs in one call, the most there may be; ask for the others in the next heartbeat",
                bounds::N_DISPATCHES
            );
            return Err(HostError::new("agent.too_many", text));
        }
        ticket.n_dispatches += 1;
        Ok(())
    }

    /// Fails when the ticket is not one of a call of this plugin that is under way.
    pub(crate) fn check(&self, plugin: &PluginName, number: u64) -> Result<(), HostError> {
        living(&mut lock(&self.open), plugin, number).map(drop)
    }

    /// The job that a ticket was issued for.
    pub(crate) fn job(&self, plugin: &PluginName, number: u64) -> Result<JobLease, HostError> {
        let mut open = lock(&self.open);
        let job = living(&mut open, plugin, number)?.job.clone();
        job.ok_or_else(|| {
            let text =
                format!("plugin {plugin}: effects are recorded in jobs, and this is a heartbeat");
            HostError::new("ticket.no_job", text)
        })
    }
}

fn living<'a>(
    open: &'a mut HashMap<u64, Open>,
    plugin: &PluginName,
    number: u64,
) -> Result<&'a mut Open, HostError> {
    let own = open.get_mut(&number).filter(|open| open.plugin == *plugin);
    own.ok_or_else(|| {
        let text = format!(
            "plugin {plugin}: the heartbeat or job with ticket {number} is over, or was none of this plugin; nothing was stored"
        );
        HostError::new("ticket.ended", text)
    })
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.tickets.open).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_for_its_plugin_its_call_and_25_runs() {
        let (tickets, own, other) = (
            Tickets::default(),
            PluginName::new("own").expect("a name"),
            PluginName::new("other").expect("a name"),
        );
        let ticket = tickets.issue(&own, None);
        let number = ticket.number;
        let code = |result: Result<(), HostError>| result.map_err(|error| error.code);
        assert_eq!(
            code(tickets.count_dispatch(&other, number)),
            Err("ticket.ended".into())
        );
        for _ in 0..25 {
            assert_eq!(code(tickets.count_dispatch(&own, number)), Ok(()));
        }
        assert_eq!(
            code(tickets.count_dispatch(&own, number)),
            Err("agent.too_many".into())
        );
        assert_eq!(
            code(tickets.job(&own, number).map(drop)),
            Err("ticket.no_job".into())
        );
        drop(ticket);
        assert_eq!(
            code(tickets.check(&own, number)),
            Err("ticket.ended".into())
        );
        let next = tickets.issue(&own, None);
        assert_ne!(next.number, number, "a number is never used again");
    }
}
