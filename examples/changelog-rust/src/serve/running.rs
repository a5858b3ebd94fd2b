//! The calls that run: begun in the order of their lines, polled until they are done, dropped when
//! nobody wants them any more.

use std::{
    any::Any,
    future::Future,
    io::{self, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as Poller, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use kodex_plugin::{
    Context, Deadline, Json, Plugin, PluginError, Reply, Request, RequestKind,
    wire::{CallReply, Id, Initialized},
};

use super::{
    finish,
    outbox::{Outbox, Problem},
};

/// What a piece of work answers with.
enum Answer {
    Reply(Reply),
    Initialized(Initialized),
    Deactivated,
}

/// What changes the worker when it is done.
pub(super) enum Done {
    /// Whether the activation succeeded.
    Activated(bool),
    Deactivated,
}

type Task<'p> = Pin<Box<dyn Future<Output = Result<Answer, PluginError>> + Send + 'p>>;

/// One request on its way.
pub(super) struct Work<'p> {
    task: Task<'p>,
    kind: Kind,
    deadline: Option<Deadline>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Activation,
    Call,
    Deactivation,
}

impl<'p> Work<'p> {
    pub(super) fn call(
        plugin: &'p dyn Plugin,
        kind: RequestKind,
        name: String,
        payload: Json,
        timeout: Duration,
    ) -> Self {
        let started_at = now();
        let deadline = Deadline {
            at: started_at.checked_add(timeout).unwrap_or(started_at),
            timeout,
        };
        let task = async move {
            let request = Request {
                kind,
                name: &name,
                payload: &payload,
                deadline,
                caller: None,
            };
            finish(plugin.call(request)).await.map(Answer::Reply)
        };
        Self {
            task: Box::pin(task),
            kind: Kind::Call,
            deadline: Some(deadline),
        }
    }

    pub(super) fn activation(
        plugin: &'p dyn Plugin,
        context: Context,
        answer: Initialized,
    ) -> Self {
        let task = async move {
            finish(plugin.activate(context)).await?;
            Ok(Answer::Initialized(answer))
        };
        Self {
            task: Box::pin(task),
            kind: Kind::Activation,
            deadline: None,
        }
    }

    pub(super) fn deactivation(plugin: &'p dyn Plugin) -> Self {
        let task = async move {
            // The process ends whatever the plugin says of it.
            let _ = finish(plugin.deactivate()).await;
            Ok(Answer::Deactivated)
        };
        Self {
            task: Box::pin(task),
            kind: Kind::Deactivation,
            deadline: None,
        }
    }

    /// Polls once. A panic is an answer like others; the worker lives on.
    fn poll(&mut self, poller: &mut Poller<'_>) -> Poll<Result<Answer, Problem>> {
        match catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(poller))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(answer.map_err(Problem::plugin)),
            Err(payload) => Poll::Ready(Err(Problem::panicked(text_of(&*payload)))),
        }
    }
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

/// Set when a task wants to be polled again without waiting for a line.
#[derive(Default)]
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

pub(super) struct Running<'p, W> {
    outbox: Arc<Outbox<W>>,
    // In the order in which they came. A handful, so a scan beats a map.
    works: Vec<(Id, Work<'p>)>,
    again: Arc<Again>,
    waker: Waker,
}

impl<'p, W: Write> Running<'p, W> {
    pub(super) fn new(outbox: Arc<Outbox<W>>) -> Self {
        let again = Arc::new(Again::default());
        Self {
            outbox,
            works: Vec::new(),
            waker: Waker::from(Arc::clone(&again)),
            again,
        }
    }

    pub(super) fn begin(&mut self, id: Id, work: Work<'p>) {
        self.works.push((id, work));
    }

    /// Drops a call and answers for it. Activation and deactivation cannot be cancelled.
    pub(super) fn cancel(&mut self, id: &Id) -> io::Result<()> {
        let is_meant = |(other, work): &(Id, Work<'_>)| other == id && work.kind == Kind::Call;
        match self.works.iter().position(is_meant) {
            Some(at) => {
                drop(self.works.remove(at));
                self.outbox.refuse(Some(id), &Problem::cancelled())
            }
            None => Ok(()),
        }
    }

    /// Drops everything and answers for it.
    pub(super) fn cancel_all(&mut self) -> io::Result<()> {
        for (id, work) in self.works.drain(..) {
            drop(work);
            self.outbox.refuse(Some(&id), &Problem::cancelled())?;
        }
        Ok(())
    }

    /// Polls everything until nothing moves any more, and answers for what is done.
    pub(super) fn run(&mut self) -> io::Result<Vec<Done>> {
        let mut done = Vec::new();
        loop {
            self.again.0.store(false, Ordering::Release);
            self.poll_all(&mut done)?;
            if !self.again.0.load(Ordering::Acquire) || self.works.is_empty() {
                return Ok(done);
            }
            // Only who yields comes here; what is ready must not wait for it.
            self.outbox.flush()?;
            self.end_overdue()?;
        }
    }

    fn poll_all(&mut self, done: &mut Vec<Done>) -> io::Result<()> {
        let mut poller = Poller::from_waker(&self.waker);
        let mut at = 0;
        while let Some((_, work)) = self.works.get_mut(at) {
            let Poll::Ready(answer) = work.poll(&mut poller) else {
                at += 1;
                continue;
            };
            let (id, work) = self.works.remove(at);
            if work.kind == Kind::Activation {
                done.push(Done::Activated(answer.is_ok()));
            }
            match answer {
                Ok(Answer::Reply(Reply(reply))) => self.outbox.answer(&id, CallReply { reply })?,
                Ok(Answer::Initialized(answer)) => self.outbox.answer(&id, answer)?,
                Ok(Answer::Deactivated) => {
                    self.outbox.answer(&id, ())?;
                    done.push(Done::Deactivated);
                }
                Err(problem) => self.outbox.refuse(Some(&id), &problem)?,
            }
        }
        Ok(())
    }

    /// The host ends what is overdue by a cancel, which this thread cannot see while it is kept
    /// busy.
    fn end_overdue(&mut self) -> io::Result<()> {
        let now = now();
        let is_overdue =
            |(_, work): &(Id, Work<'_>)| work.deadline.is_some_and(|due| due.at <= now);
        while let Some(at) = self.works.iter().position(is_overdue) {
            let (id, work) = self.works.remove(at);
            drop(work);
            self.outbox.refuse(Some(&id), &Problem::cancelled())?;
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a worker has no clock but its own; the host measures its deadlines itself"
)]
fn now() -> Instant {
    Instant::now()
}
