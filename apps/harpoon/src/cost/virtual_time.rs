//! Time that passes only when everybody waits: the critical path of an invocation, without waiting for it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

#[derive(Debug, Default)]
struct Timers {
    now_us: u64,
    next: u64,
    due: BinaryHeap<Reverse<(u64, u64)>>,
    wakers: BTreeMap<u64, Waker>,
}

/// A clock that jumps to the next moment for which somebody waits.
#[derive(Debug, Clone, Default)]
pub struct VirtualTime(Arc<Mutex<Timers>>);

/// What is polled is waiting for something else than this clock.
#[derive(Debug, thiserror::Error)]
#[error("nothing waits for the clock, and yet the work is not done")]
pub struct Stuck;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl VirtualTime {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds that have passed.
    pub fn micros(&self) -> u64 {
        self.lock().now_us
    }

    /// Waits.
    pub fn sleep(&self, micros: u64) -> Sleep {
        Sleep { time: self.clone(), micros, timer: None }
    }

    /// Works until `work` is done, on this thread.
    ///
    /// # Errors
    /// The work waits for something else than [`Self::sleep`].
    pub fn run<F: Future>(&self, work: F) -> Result<F::Output, Stuck> {
        let mut work = pin!(work);
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        loop {
            flag.0.store(false, Ordering::SeqCst);
            if let Poll::Ready(output) = work.as_mut().poll(&mut context) {
                return Ok(output);
            }
            if !flag.0.load(Ordering::SeqCst) {
                self.jump()?;
            }
        }
    }

    /// Jumps to the next moment for which somebody waits, and wakes who does.
    fn jump(&self) -> Result<(), Stuck> {
        let waker = {
            let mut timers = self.lock();
            let Some(Reverse((at, id))) = timers.due.pop() else { return Err(Stuck) };
            timers.now_us = timers.now_us.max(at);
            timers.wakers.remove(&id)
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}

/// Resolves after a while.
#[derive(Debug)]
pub struct Sleep {
    time: VirtualTime,
    micros: u64,
    /// When it ends, and the timer's number.
    timer: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = self.time.clone();
        let mut timers = time.lock();
        match self.timer {
            Some((at, _)) if timers.now_us >= at => Poll::Ready(()),
            Some((_, id)) => {
                timers.wakers.insert(id, context.waker().clone());
                Poll::Pending
            }
            None => {
                let (at, id) = (timers.now_us.saturating_add(self.micros), timers.next);
                timers.next = timers.next.saturating_add(1);
                timers.due.push(Reverse((at, id)));
                timers.wakers.insert(id, context.waker().clone());
                self.timer = Some((at, id));
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt, stream};

    #[test]
    fn waits_side_by_side_take_as_long_as_the_longest() {
        let time = VirtualTime::default();
        let each = |ms: u64| time.sleep(ms * 1_000);
        let all = async {
            each(5).await;
            stream::iter([3, 8, 1]).map(each).buffer_unordered(16).collect::<Vec<()>>().await;
            // Two at a time: 4 and 4, then 4.
            stream::iter([4, 4, 4]).map(each).buffer_unordered(2).collect::<Vec<()>>().await;
        };
        time.run(all).unwrap();
        assert_eq!(time.micros(), (5 + 8 + 8) * 1_000);
    }

    #[test]
    fn work_that_waits_for_something_else_is_told_apart() {
        assert!(VirtualTime::default().run(futures::future::pending::<()>()).is_err());
    }
}
