//! One request in flight, as a future. Dropping it cancels the request.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{link::Link, table::Answer};

pub(super) struct Flight {
    link: Arc<Link>,
    id: u64,
    landed: bool,
}

impl Flight {
    pub(super) fn new(link: Arc<Link>, id: u64) -> Self {
        Self {
            link,
            id,
            landed: false,
        }
    }
}

impl Future for Flight {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = ready!(self.link.poll_answer(self.id, cx));
        self.landed = true;
        Poll::Ready(answer)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.landed {
            self.link.abandon(self.id);
        }
        // What the plugin opened under this call is closed with it.
        self.link.ended(self.id);
    }
}
