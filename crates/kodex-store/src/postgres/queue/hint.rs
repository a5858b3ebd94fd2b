//! Hints that there may be something to claim: within this process at once, between nodes by NOTIFY.
//!
//! A notice is a transaction of its own, after the change that it speaks of: inside it would hold a lock of
//! the whole server while the change is written to disk, and no two changes could be. There is one on its
//! way at any time, and what happens meanwhile is told by the next. Servers that have no NOTIFY, and
//! poolers that give each transaction another session, lose nothing but speed.

use std::{
    future::poll_fn,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};

use crate::{
    StoreError,
    postgres::{
        Inner, open,
        pool::{Arg, Lines, Trouble},
        roles::{self, quoted},
        tls::Connect,
    },
};

/// Time between two notices: many changes in a moment need few.
const GAP: Duration = Duration::from_millis(1);
/// How long to wait before listening again after the connection broke; each further try waits twice as
/// long, up to the last.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it is there, and how long it may take to say so.
const LOOK: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(10);

const IDLE: u8 = 0;
const ON_ITS_WAY: u8 = 1;
const MORE: u8 = 2;

/// What rings on this node, and how it is heard on others.
pub(super) struct Bell {
    heard: watch::Sender<u64>,
    /// Nobody without a look into the core schema knows it.
    channel: String,
    /// What this store calls itself, so that it does not hear itself.
    node: String,
    /// Whether the server has notices at all.
    is_spoken: AtomicBool,
    notice: AtomicU8,
    listens: AtomicBool,
}

impl Bell {
    pub(super) fn new(inner: &Inner) -> Self {
        let secret = roles::password(&inner.seal.secret, "the channel of jobs");
        Self {
            heard: watch::Sender::new(0),
            channel: format!("kodex_{}", &secret[..24.min(secret.len())]),
            node: open::random()[..16].to_owned(),
            is_spoken: AtomicBool::new(true),
            notice: AtomicU8::new(IDLE),
            listens: AtomicBool::new(false),
        }
    }

    fn sound(&self) {
        self.heard.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Tells this node at once and the others soon.
    pub(super) fn ring(self: &Arc<Self>, inner: &Inner, lines: &Lines) {
        self.sound();
        if !self.is_spoken.load(Ordering::Relaxed) {
            return;
        }
        let before = self.notice.fetch_max(ON_ITS_WAY, Ordering::AcqRel);
        if before == IDLE {
            let work = Arc::clone(self).tell(lines.clone());
            inner.shared.tasks.spawn(work);
        } else {
            self.notice.fetch_max(MORE, Ordering::AcqRel);
        }
    }

    async fn tell(self: Arc<Self>, lines: Lines) {
        loop {
            self.tell_once(&lines).await;
            sleep(GAP).await;
            let ended =
                self.notice
                    .compare_exchange(ON_ITS_WAY, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if ended.is_ok() {
                return;
            }
            self.notice.store(ON_ITS_WAY, Ordering::Release);
        }
    }

    async fn tell_once(&self, lines: &Lines) {
        // Without a connection nobody hears it; they look from time to time.
        let Ok(mut line) = lines.line(None).await else {
            return;
        };
        let args = [Arg::Text(&self.channel), Arg::Text(&self.node)];
        let told = line.rows("SELECT pg_notify($1, $2)::text", &args).await;
        if let Err(Trouble::Server(error)) = told
            && is_unknown(&error)
        {
            self.is_spoken.store(false, Ordering::Relaxed);
        }
    }

    /// The hints of this node; begins to listen for those of others.
    pub(super) fn listen(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
    ) -> Result<watch::Receiver<u64>, StoreError> {
        if inner.shared.is_closed() {
            return Err(StoreError::Closed);
        }
        let is_first = !self.listens.swap(true, Ordering::AcqRel);
        if is_first && inner.options.prepare {
            let ear = Ear {
                bell: Arc::downgrade(self),
                config: inner.config.clone(),
                tls: inner.shared.tls.clone(),
            };
            let closing = inner.shared.closing();
            inner.shared.tasks.spawn(async move {
                tokio::select! {
                    () = closing => {}
                    () = ear.hear() => {}
                }
            });
        }
        Ok(self.heard.subscribe())
    }
}

/// What the server does not know it will not learn.
fn is_unknown(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map_or("", |code| code.code());
    code.starts_with("42") || code.starts_with("0A")
}

/// Listens on a connection of its own, for as long as the bell is there.
struct Ear {
    bell: Weak<Bell>,
    config: Config,
    tls: Connect,
}

/// Why listening ended.
enum End {
    /// It may be tried again, after the usual pause where it had worked.
    Broken { worked: bool },
    /// For good.
    Over,
}

impl Ear {
    async fn hear(self) {
        let mut pause = AGAIN;
        loop {
            match self.hear_once().await {
                End::Over => return,
                End::Broken { worked: true } => pause = AGAIN,
                End::Broken { worked: false } => {}
            }
            sleep(pause).await;
            pause = (pause * 2).min(AGAIN_AT_MOST);
        }
    }

    async fn hear_once(&self) -> End {
        let connected = timeout(ANSWER, self.config.connect(self.tls.clone())).await;
        let Ok(Ok((client, connection))) = connected else {
            return self.broken(false);
        };
        self.attend(client, connection).await
    }

    async fn attend<S>(&self, client: Client, mut connection: Connection<Socket, S>) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(bell) = self.bell.upgrade() else {
            return End::Over;
        };
        let listen = format!("LISTEN {}", quoted(&bell.channel));
        match asked(&bell, &client, &mut connection, &listen).await {
            Ok(()) => {}
            Err(Some(error)) if is_unknown(&error) => return End::Over,
            Err(_) => return self.broken(false),
        }
        // What was said while nobody listened.
        bell.sound();
        drop(bell);
        loop {
            let look = Instant::now() + LOOK;
            let message = poll_fn(|cx| connection.poll_message(cx));
            let message = tokio::time::timeout_at(look, message).await;
            let Some(bell) = self.bell.upgrade() else {
                return End::Over;
            };
            match message {
                Ok(Some(Ok(message))) => bell.take(&message),
                Ok(Some(Err(_)) | None) => return self.broken(true),
                Err(_) => {
                    let there = asked(&bell, &client, &mut connection, "SELECT 1").await;
                    if there.is_err() {
                        return self.broken(true);
                    }
                }
            }
        }
    }

    fn broken(&self, worked: bool) -> End {
        if self.bell.strong_count() == 0 {
            return End::Over;
        }
        End::Broken { worked }
    }
}

impl Bell {
    fn take(&self, message: &AsyncMessage) {
        if let AsyncMessage::Notification(said) = message
            && said.payload() != self.node
        {
            self.sound();
        }
    }
}

/// Runs a statement on a connection that only this task drives. The error is none when there was no answer.
async fn asked<S>(
    bell: &Bell,
    client: &Client,
    connection: &mut Connection<Socket, S>,
    sql: &str,
) -> Result<(), Option<tokio_postgres::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asked = client.batch_execute(sql);
    let mut asked = std::pin::pin!(timeout(ANSWER, asked));
    loop {
        tokio::select! {
            done = &mut asked => return match done {
                Ok(done) => done.map_err(Some),
                Err(_) => Err(None),
            },
            message = poll_fn(|cx| connection.poll_message(cx)) => match message {
                Some(Ok(message)) => bell.take(&message),
                Some(Err(_)) | None => return Err(None),
            },
        }
    }
}
