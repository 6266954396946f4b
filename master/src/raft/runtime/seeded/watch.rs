//! A watch that wakes who waits in the order they came: tokio's wakes them in an order drawn by lot, which no seed repeats.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use openraft_rt::watch::{RecvError, SendError, Watch, WatchReceiver, WatchSender};
use openraft_rt::{OptionalSend, OptionalSync};
use tokio::sync::watch;

pub(crate) struct Ordered;

/// Who waits, first come first.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Vec<Waker>>>);

/// Shared by all senders: when the last one goes, everybody is told.
struct Goodbye(Waiting);

// The value goes before the goodbye.
pub(crate) struct Sender<T>(watch::Sender<T>, Arc<Goodbye>);

pub(crate) struct Receiver<T>(watch::Receiver<T>, Waiting);

impl Waiting {
    fn wake(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap());
        all.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), self.1.clone())
    }
}

impl Watch for Ordered {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let (tx, rx) = watch::channel(init);
        let waiting = Waiting::default();
        let goodbye = Arc::new(Goodbye(waiting.clone()));
        (Sender(tx, goodbye), Receiver(rx, waiting))
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<Ordered, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value).map_err(|e| SendError(e.0))?;
        self.1.0.wake();
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = self.0.send_if_modified(modify);
        if modified {
            self.1.0.wake();
        }
        modified
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver(self.0.subscribe(), self.1.0.clone())
    }
}

impl<T> Receiver<T> {
    fn poll_changed(&mut self, context: &Context<'_>) -> Poll<Result<(), RecvError>> {
        // Nobody sends between the look and the registration unnoticed: waking takes the same lock.
        let mut waiting = self.1.0.lock().unwrap();
        match self.0.has_changed() {
            Ok(true) => {
                drop(waiting);
                self.0.mark_unchanged();
                Poll::Ready(Ok(()))
            }
            Ok(false) => {
                waiting.push(context.waker().clone());
                Poll::Pending
            }
            Err(_) => Poll::Ready(Err(RecvError(()))),
        }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<Ordered, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        poll_fn(|context| self.poll_changed(context)).await
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.0.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.0.borrow_and_update()
    }
}
