//! The threads that own connections. Work comes as closures through a bounded queue.
//!
//! A [`Lane`] is one queue with up to so many threads, started when there is work and ended, their
//! connections closed, when there was none for a while. This is the one place of the dialect that starts
//! threads; a lane ends them when it is closed or dropped.
//!
//! After a piece of work one thread of a lane looks at the queue for a few microseconds before it sleeps:
//! waking a sleeping thread costs more than most reads.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, Semaphore, oneshot};

use super::{
    here::Here,
    open::{Conn, Role, Site, open, open_absent},
    watch::{CancelOnDrop, Token, locked},
};
use crate::StoreError;

/// Most pieces of work that wait in one lane; more wait outside, in the order of their arrival.
const N_WAITING: usize = 1_024;
/// How often a thread looks for more work before it sleeps: about 15 microseconds.
const N_LOOKS: u32 = 400;
/// How often a caller looks for its answer before it leaves the thread to others: less than the time that
/// leaving and coming back take.
const N_PEEKS: u32 = 150;
/// How much later than its deadline an answer of the engine may be.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Longest wait for the end of running work when a lane is closed.
const CLOSE_WAIT: Duration = Duration::from_secs(15);

type Job = Box<dyn FnOnce(&mut Seat) + Send>;
type Closer = Box<dyn Fn() + Send>;
/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// One thread's connections to a file, opened when they are needed.
pub(super) struct Seat {
    site: Arc<Site>,
    /// Which file the connections are about, see [`Site::current`].
    number: u64,
    reader: Option<Conn>,
    absent: Option<Conn>,
    writer: Option<Conn>,
    owner: Option<Conn>,
}

impl Seat {
    fn new(site: Arc<Site>) -> Self {
        Self {
            site,
            number: 0,
            reader: None,
            absent: None,
            writer: None,
            owner: None,
        }
    }

    /// What reads the file, or nothing in place of a file that is not there yet.
    pub(super) fn reader(&mut self) -> Result<&mut Conn, StoreError> {
        if self.has_file()? {
            return fill(&mut self.reader, &self.site, Role::Reader);
        }
        let conn = open_absent(&self.site)?;
        Ok(self.absent.insert(conn))
    }

    pub(super) fn writer(&mut self) -> Result<&mut Conn, StoreError> {
        self.keep_up()?;
        fill(&mut self.writer, &self.site, Role::Writer)
    }

    pub(super) fn owner(&mut self) -> Result<&mut Conn, StoreError> {
        self.keep_up()?;
        fill(&mut self.owner, &self.site, Role::Owner)
    }

    /// Whether there is anything to read. A file that another process is making is not there yet.
    pub(super) fn has_file(&mut self) -> Result<bool, StoreError> {
        self.keep_up()?;
        if self.reader.is_some() {
            return Ok(true);
        }
        if !self.site.exists() {
            return Ok(false);
        }
        let conn = open(&self.site, Role::Reader)?;
        let made = conn.made;
        if made {
            self.absent = None;
            self.reader = Some(conn);
        }
        Ok(made)
    }

    /// Closes connections to a file that is not the one at the path any more.
    fn keep_up(&mut self) -> Result<(), StoreError> {
        let current = self.site.current();
        if current != Ok(self.number) {
            self.leave();
        }
        self.number = current?;
        Ok(())
    }

    /// Closes every connection.
    pub(super) fn leave(&mut self) {
        *self = Self::new(Arc::clone(&self.site));
    }
}

fn fill<'a>(
    slot: &'a mut Option<Conn>,
    site: &Arc<Site>,
    role: Role,
) -> Result<&'a mut Conn, StoreError> {
    match slot {
        Some(conn) => Ok(conn),
        None => Ok(slot.insert(open(site, role)?)),
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Threads that take work.
    n_serving: usize,
    /// Threads that are not gone yet.
    n_alive: usize,
    n_parked: usize,
    /// Parked threads that were called and have not come yet.
    n_called: usize,
    looking: bool,
    closing: bool,
    /// How to tell those that hold a thread for long, transactions and cursors, that the lane closes.
    holders: Vec<(u64, Closer)>,
    last_holder: u64,
}

struct Shared {
    site: Arc<Site>,
    here: Arc<Here>,
    n_threads: usize,
    queue: Mutex<Queue>,
    called: Condvar,
    n_queued: AtomicUsize,
    room: Semaphore,
    gone: Notify,
}

/// A queue with its threads.
pub(super) struct Lane(Arc<Shared>);

/// How long a caller waits for its turn, and whether the answer is worth a look before sleeping.
#[derive(Clone, Copy, Default)]
pub(super) struct Patience {
    pub(super) turn: Option<Duration>,
    pub(super) short: bool,
}

impl Lane {
    pub(super) fn new(site: Arc<Site>, n_threads: usize, here: Arc<Here>) -> Self {
        Self(Arc::new(Shared {
            site,
            here,
            n_threads: n_threads.max(1),
            queue: Mutex::new(Queue::default()),
            called: Condvar::new(),
            n_queued: AtomicUsize::new(0),
            room: Semaphore::new(N_WAITING),
            gone: Notify::new(),
        }))
    }

    /// Runs `work` on a thread of the lane. Dropping the future cancels it.
    pub(super) async fn call<T, F>(&self, patience: Patience, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Seat, &Token) -> Result<T, StoreError> + Send + 'static,
    {
        self.launch(patience, move |seat, token, reply| {
            let _ = reply.send(work(seat, token));
        })
        .await
    }

    /// The same for work that replies and then keeps its thread.
    pub(super) async fn launch<T, F>(&self, patience: Patience, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Seat, &Token, Reply<T>) + Send + 'static,
    {
        let token = Token::default();
        let _cancel = CancelOnDrop(token.clone());
        let (reply, answer) = oneshot::channel();
        let seen = token.clone();
        self.admit(patience).await?;
        let hot = self.0.push(Box::new(move |seat| {
            if seen.start() {
                work(seat, &seen, reply);
            }
        }))?;
        self.answer(answer, &token, patience, hot).await
    }

    /// Puts work into the queue that answers by itself; says whether a thread is awake for it.
    pub(super) fn post(
        &self,
        work: impl FnOnce(&mut Seat) + Send + 'static,
    ) -> Result<bool, StoreError> {
        let permit = self.0.room.try_acquire().map_err(|_| self.busy())?;
        permit.forget();
        self.0.push(Box::new(work))
    }

    async fn admit(&self, patience: Patience) -> Result<(), StoreError> {
        let room = &self.0.room;
        let permit = match room.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let wait = patience.turn.unwrap_or(super::watch::LOCK_WAIT);
                match tokio::time::timeout(wait, room.acquire()).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(StoreError::Closed),
                    Err(_) => return Err(self.busy()),
                }
            }
        };
        // The thread that takes the work gives it back.
        permit.forget();
        Ok(())
    }

    /// Waits for an answer.
    pub(super) async fn answer<T>(
        &self,
        mut answer: oneshot::Receiver<Result<T, StoreError>>,
        token: &Token,
        patience: Patience,
        hot: bool,
    ) -> Result<T, StoreError> {
        if hot && patience.short {
            for _ in 0..N_PEEKS {
                match answer.try_recv() {
                    Ok(result) => return result,
                    Err(oneshot::error::TryRecvError::Closed) => break,
                    Err(oneshot::error::TryRecvError::Empty) => std::hint::spin_loop(),
                }
            }
        }
        let result = match patience.turn {
            None => answer.await,
            Some(turn) => match tokio::time::timeout(turn, &mut answer).await {
                Ok(result) => result,
                Err(_) if token.give_up() => return Err(self.busy()),
                // It runs, and its own watch ends it. Where the engine does not ask the watch in time,
                // inside one long operation, the thread is left to it and the caller is not.
                Err(_) => match tokio::time::timeout(turn + GRACE, &mut answer).await {
                    Ok(result) => result,
                    Err(_) => return Err(self.late(turn * 2 + GRACE)),
                },
            },
        };
        result.unwrap_or(Err(StoreError::Closed))
    }

    fn late(&self, after: Duration) -> StoreError {
        match &self.0.site.plugin {
            Some(plugin) => StoreError::Timeout {
                plugin: plugin.clone(),
                after_ms: kodex_plugin::clock::millis(after),
            },
            None => self.busy(),
        }
    }

    pub(super) fn busy(&self) -> StoreError {
        StoreError::Busy {
            what: self.0.site.what(),
        }
    }

    /// Registers what holds a thread for long; `closer` is called when the lane closes meanwhile.
    pub(super) fn hold(&self, closer: Closer) -> Held {
        let mut queue = locked(&self.0.queue);
        if queue.closing {
            closer();
        }
        queue.last_holder += 1;
        let id = queue.last_holder;
        queue.holders.push((id, closer));
        Held {
            shared: Arc::clone(&self.0),
            id,
        }
    }

    /// Lets running work end, refuses what waits, closes the connections.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.0.shut();
        let gone = async {
            loop {
                let told = self.0.gone.notified();
                if locked(&self.0.queue).n_alive == 0 {
                    return;
                }
                told.await;
            }
        };
        tokio::time::timeout(CLOSE_WAIT, gone)
            .await
            .map_err(|_| self.busy())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.shut();
    }
}

/// Something that holds a thread. Dropping it forgets it.
pub(super) struct Held {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        locked(&self.shared.queue)
            .holders
            .retain(|(id, _)| *id != self.id);
    }
}

impl Shared {
    /// Puts work into the queue; says whether a thread is awake for it.
    fn push(self: &Arc<Self>, job: Job) -> Result<bool, StoreError> {
        let mut queue = locked(&self.queue);
        if queue.closing {
            return Err(StoreError::Closed);
        }
        queue.jobs.push_back(job);
        self.n_queued.store(queue.jobs.len(), Ordering::Release);
        let attended = usize::from(queue.looking) + queue.n_called;
        if queue.jobs.len() <= attended {
            return Ok(true);
        }
        if queue.n_parked > 0 {
            queue.n_parked -= 1;
            queue.n_called += 1;
            drop(queue);
            self.called.notify_one();
        } else if queue.n_serving < self.n_threads {
            self.start(&mut queue)?;
        }
        Ok(false)
    }

    fn start(self: &Arc<Self>, queue: &mut Queue) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name("kodex-sqlite".to_owned())
            .spawn(move || shared.serve());
        match started {
            Ok(_) => {
                queue.n_serving += 1;
                queue.n_alive += 1;
                Ok(())
            }
            // Another thread of the lane will come to it.
            Err(_) if queue.n_serving > 0 => Ok(()),
            Err(error) => {
                queue.jobs.pop_back();
                self.room.add_permits(1);
                Err(StoreError::Unreachable {
                    place: self.site.path.display().to_string(),
                    problem: format!("no thread can be started: {error}"),
                })
            }
        }
    }

    fn serve(self: Arc<Self>) {
        let mut seat = Seat::new(Arc::clone(&self.site));
        while let Some(job) = self.next() {
            self.room.add_permits(1);
            if catch_unwind(AssertUnwindSafe(|| job(&mut seat))).is_err() {
                // The caller hears of it because its reply is gone; the connections may be in any state.
                tracing::error!(what = self.site.what(), "work on a database panicked");
                seat.leave();
            }
        }
        drop(seat);
        self.here.rest();
        let mut queue = locked(&self.queue);
        queue.n_alive -= 1;
        drop(queue);
        self.gone.notify_waiters();
    }

    fn next(&self) -> Option<Job> {
        let mut looked = false;
        let mut queue = locked(&self.queue);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                self.n_queued.store(queue.jobs.len(), Ordering::Release);
                return Some(job);
            }
            if queue.closing {
                queue.n_serving -= 1;
                return None;
            }
            if !looked && !queue.looking {
                looked = true;
                queue.looking = true;
                drop(queue);
                self.look();
                queue = locked(&self.queue);
                queue.looking = false;
                continue;
            }
            queue.n_parked += 1;
            let idle = self.site.options.idle;
            let (back, timeout) = match self.called.wait_timeout(queue, idle) {
                Ok(waited) => waited,
                Err(poisoned) => poisoned.into_inner(),
            };
            queue = back;
            if queue.n_called > 0 {
                queue.n_called -= 1;
                continue;
            }
            queue.n_parked -= 1;
            // It also looks after the connections that have no thread.
            if timeout.timed_out() && queue.jobs.is_empty() && !self.here.was_used() {
                queue.n_serving -= 1;
                return None;
            }
        }
    }

    fn look(&self) {
        for at in 0..N_LOOKS {
            if self.n_queued.load(Ordering::Acquire) > 0 {
                return;
            }
            // The caller may need this very processor to ask its next question.
            if at % 8 == 7 {
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }

    fn shut(&self) {
        let mut queue = locked(&self.queue);
        queue.closing = true;
        for (_, closer) in queue.holders.drain(..) {
            closer();
        }
        // Dropping them tells their callers.
        let waiting = std::mem::take(&mut queue.jobs);
        self.room.add_permits(waiting.len());
        self.n_queued.store(0, Ordering::Release);
        drop(queue);
        drop(waiting);
        self.called.notify_all();
    }
}
