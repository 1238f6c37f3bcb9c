//! How the sequencer waits for messages: asleep.
//!
//! What a channel's own `recv_timeout` does first is to look again a few times and let others run
//! in between (`sched_yield`). Linux takes that for a time slice given up: on a busy machine each
//! look may cost milliseconds in which nothing is synced, though batches are there, and a sender
//! waits for each. Workers may wait as they like: no answer depends on them.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, TryRecvError};

/// The next message, if one comes in time.
///
/// # Errors
/// If none came, or nobody can send any more.
pub(super) fn receive_within<T>(
    inbox: &Receiver<T>,
    time: Duration,
) -> Result<T, RecvTimeoutError> {
    match inbox.try_recv() {
        Ok(message) => Ok(message),
        Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
        Err(TryRecvError::Empty) => {
            // A choice of one: unlike a channel alone, it sleeps at once.
            let mut select = Select::new();
            select.recv(inbox);
            let selected = select.select_timeout(time).map_err(|_| RecvTimeoutError::Timeout)?;
            selected.recv(inbox).map_err(|_| RecvTimeoutError::Disconnected)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::bounded;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn messages_come_in_order_until_nobody_can_send_any() {
        let (sender, inbox) = bounded(2);
        thread::scope(|scope| {
            scope.spawn(move || (0..100).for_each(|n| sender.send(n).expect("taken")));
            for n in 0..100 {
                assert_eq!(receive_within(&inbox, LONG), Ok(n));
            }
        });
        assert_eq!(receive_within(&inbox, LONG), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn who_waits_is_woken_and_who_waits_in_vain_is_not_kept() {
        let (sender, inbox) = bounded::<u8>(1);
        assert_eq!(receive_within(&inbox, SHORT), Err(RecvTimeoutError::Timeout));
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(SHORT);
                sender.send(1).expect("taken");
                thread::sleep(SHORT);
            });
            assert_eq!(receive_within(&inbox, LONG), Ok(1));
            assert_eq!(receive_within(&inbox, LONG), Err(RecvTimeoutError::Disconnected));
        });
    }
}
