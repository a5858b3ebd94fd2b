//! The three things that can be asked of a resident runtime from outside: end well, end now, look at the
//! plugins again.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// How far the end was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Stay,
    Drain,
    Release,
}

/// A handle on a resident runtime; clones are the same handle.
#[derive(Debug, Clone)]
pub struct Control {
    wish: Arc<watch::Sender<Wish>>,
    reload: Arc<Notify>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            wish: Arc::new(watch::Sender::new(Wish::Stay)),
            reload: Arc::new(Notify::new()),
        }
    }
}

impl Control {
    /// Asks for the end: nothing new is begun, what runs may end within the grace. Asked again, what still
    /// runs is given back at once.
    pub fn stop(&self) {
        self.wish.send_modify(|wish| {
            *wish = match wish {
                Wish::Stay => Wish::Drain,
                Wish::Drain | Wish::Release => Wish::Release,
            }
        });
    }

    /// Asks for a look at the plugins. Asking again before it began changes nothing.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.wish.borrow() > Wish::Stay
    }

    /// Waits until the end was asked for.
    pub(crate) async fn stopping(&self) {
        self.at_least(Wish::Drain).await;
    }

    /// Waits until it was asked for twice.
    pub(crate) async fn releasing(&self) {
        self.at_least(Wish::Release).await;
    }

    async fn at_least(&self, wanted: Wish) {
        let mut wish = self.wish.subscribe();
        // The sender lives as long as this handle.
        let _ = wish.wait_for(|wish| *wish >= wanted).await;
    }

    /// Waits until a reload was asked for.
    pub(crate) async fn reloading(&self) {
        self.reload.notified().await;
    }
}
