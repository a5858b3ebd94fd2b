//! The store's own writes. One that finds nobody before it is done at once where it is asked for
//! ([`super::here`]). Otherwise several callers' writes share one transaction on the writer's thread:
//! whoever waits while one is being committed goes into the next. Each caller has its own outcome, and none is told before the commit. If one of a group fails in
//! the engine, nothing of the group stays and each is done again alone.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use kodex_plugin::PluginName;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    error,
    file::File,
    here::{Here, now_ms},
    open::Conn,
    thread::{Patience, Reply},
    watch::{CancelOnDrop, Token, locked},
};
use crate::StoreError;

/// Most writes in one transaction; more make the first wait for the last.
const N_TOGETHER: usize = 64;
/// Most writes that wait.
const N_WAITING: usize = 4_096;

/// What a write gives, or why it was refused without a change; the outer error is the engine's.
pub(super) type Outcome<T> = rusqlite::Result<Result<T, StoreError>>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Box<dyn Member>>,
    served: bool,
}

/// The writes that wait for the next transaction.
#[derive(Clone, Default)]
pub(super) struct Group(Arc<Mutex<Queue>>);

trait Member: Send {
    fn is_wanted(&self) -> bool;
    fn run(&mut self, db: &Connection, now_ms: i64) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>);
    fn fail(self: Box<Self>, conn: &Conn, error: &rusqlite::Error);
    fn refuse(self: Box<Self>, error: StoreError);
}

struct Ask<T, F> {
    plugin: PluginName,
    work: F,
    outcome: Option<Result<T, StoreError>>,
    reply: Reply<T>,
    token: Token,
}

impl<T: Send, F: FnMut(&Connection, i64) -> Outcome<T> + Send> Member for Ask<T, F> {
    fn is_wanted(&self) -> bool {
        self.token.start()
    }

    fn run(&mut self, db: &Connection, now_ms: i64) -> rusqlite::Result<()> {
        self.outcome = Some((self.work)(db, now_ms)?);
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            let _ = self.reply.send(outcome);
        }
    }

    fn fail(self: Box<Self>, conn: &Conn, error: &rusqlite::Error) {
        let _ = self
            .reply
            .send(Err(error::of_plugin(conn, error, &self.plugin)));
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }
}

impl Group {
    /// Runs `work` in a transaction. It may be run again when another write of its group fails, and then
    /// nothing of the first time is left. What is known to be long is not begun here.
    pub(super) async fn call<T, F>(
        &self,
        file: &File,
        plugin: &PluginName,
        is_long: bool,
        mut work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&Connection, i64) -> Outcome<T> + Send + 'static,
    {
        let is_free = !is_long && !locked(&self.0).served;
        if is_free && let Some(done) = file.here.write(plugin, &mut work) {
            // What never waits would never let others have the thread.
            tokio::task::coop::consume_budget().await;
            return done;
        }
        let token = Token::default();
        let _cancel = CancelOnDrop(token.clone());
        let (reply, answer) = oneshot::channel();
        let ask = Box::new(Ask {
            plugin: plugin.clone(),
            work,
            outcome: None,
            reply,
            token: token.clone(),
        });
        let hot = self.add(file, ask)?;
        let patience = Patience {
            turn: None,
            short: true,
        };
        file.writer.answer(answer, &token, patience, hot).await
    }

    fn add(&self, file: &File, ask: Box<dyn Member>) -> Result<bool, StoreError> {
        let mut queue = locked(&self.0);
        if queue.waiting.len() >= N_WAITING {
            return Err(file.writer.busy());
        }
        queue.waiting.push_back(ask);
        if queue.served {
            return Ok(false);
        }
        queue.served = true;
        drop(queue);
        let serving = Serving {
            group: self.clone(),
            done: false,
        };
        let here = Arc::clone(&file.here);
        file.writer.post(move |_| serving.serve(&here))
    }
}

/// The promise that somebody serves the queue. When it goes, because the lane is closed or the work
/// panicked, whoever still waits is told by the loss of the reply.
struct Serving {
    group: Group,
    done: bool,
}

impl Serving {
    fn serve(mut self, here: &Here) {
        while let Some(mut members) = self.next() {
            members.retain(|member| member.is_wanted());
            let served = here.on_thread(|conn| commit(conn, std::mem::take(&mut members)));
            if let Err(error) = served {
                for member in members {
                    member.refuse(error.clone());
                }
            }
        }
    }

    fn next(&mut self) -> Option<Vec<Box<dyn Member>>> {
        let mut queue = locked(&self.group.0);
        let n = queue.waiting.len().min(N_TOGETHER);
        if n == 0 {
            queue.served = false;
            self.done = true;
            return None;
        }
        Some(queue.waiting.drain(..n).collect())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let waiting = {
            let mut queue = locked(&self.group.0);
            queue.served = false;
            std::mem::take(&mut queue.waiting)
        };
        drop(waiting);
    }
}

fn commit(conn: &Conn, mut members: Vec<Box<dyn Member>>) {
    if members.is_empty() {
        return;
    }
    match attempt(conn, &mut members) {
        Ok(()) => members.into_iter().for_each(Member::answer),
        Err(Broken { committing, .. }) if members.len() > 1 && !committing => {
            for member in members {
                commit(conn, vec![member]);
            }
        }
        Err(Broken { error, .. }) => members
            .into_iter()
            .for_each(|member| member.fail(conn, &error)),
    }
}

struct Broken {
    error: rusqlite::Error,
    /// At the commit: what a second attempt would do is unknown.
    committing: bool,
}

fn attempt(conn: &Conn, members: &mut [Box<dyn Member>]) -> Result<(), Broken> {
    let mut committing = false;
    let result = (|| {
        let db = &conn.db;
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let now_ms = now_ms(conn);
        for member in members {
            member.run(db, now_ms)?;
        }
        committing = true;
        db.prepare_cached("COMMIT")?.execute([]).map(|_| ())
    })();
    result.map_err(|error| {
        conn.roll_back();
        Broken { error, committing }
    })
}
