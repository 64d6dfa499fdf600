//! Which window is next: live audio first, files of different clients in turns. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::backend::Urgency;

/// So many windows of live audio may go ahead of a file's that waits; then it has its turn.
const LIVE_IN_A_ROW: usize = 3;

/// What waits for a state.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    phrases: VecDeque<T>,
    partials: VecDeque<T>,
    files: Turns<T>,
    /// Windows of live audio that went ahead of a file's.
    ahead: usize,
    closed: bool,
}

/// Windows of files. Clients take turns, so that one with a hundred files keeps nobody else waiting behind them:
/// round robin (J. Nagle, RFC 970, 1985).
#[derive(Debug)]
struct Turns<T> {
    /// Those who have something here, in the order of their turns, with what they have.
    clients: VecDeque<(Arc<str>, VecDeque<T>)>,
}

impl<T> Turns<T> {
    fn push(&mut self, client: Arc<str>, job: T) {
        match self.clients.iter_mut().find(|(known, _)| *known == client) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.clients.push_back((client, VecDeque::from([job]))),
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (client, mut jobs) = self.clients.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.clients.push_back((client, jobs));
        }
        job
    }

    fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (phrases, partials) = Default::default();
        Self { phrases, partials, files: Turns { clients: VecDeque::new() }, ahead: 0, closed: false }
    }
}

impl<T> Queue<T> {
    /// Adds a window. `client` is whose it is.
    pub(crate) fn push(&mut self, urgency: Urgency, client: Arc<str>, job: T) {
        match urgency {
            Urgency::Phrase => self.phrases.push_back(job),
            Urgency::Partial => self.partials.push_back(job),
            Urgency::File => self.files.push(client, job),
        }
    }

    /// The next window.
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.files.is_empty() || self.ahead < LIVE_IN_A_ROW {
            let live = self.phrases.pop_front().or_else(|| self.partials.pop_front());
            if live.is_some() {
                self.ahead = if self.files.is_empty() { 0 } else { self.ahead + 1 };
                return live;
            }
        }
        self.ahead = 0;
        self.files.pop()
    }

    /// No more windows are taken once those that are there are done.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_audio_goes_first_and_files_have_their_turn() {
        let mut queue = Queue::default();
        for file in ["f1", "f2", "f3"] {
            queue.push(Urgency::File, "".into(), file);
        }
        for live in ["p1", "p2"] {
            queue.push(Urgency::Partial, "".into(), live);
        }
        for phrase in ["s1", "s2", "s3"] {
            queue.push(Urgency::Phrase, "".into(), phrase);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["s1", "s2", "s3", "f1", "p1", "p2", "f2", "f3"]);
    }

    #[test]
    fn a_file_waits_for_no_more_than_a_few_however_many_come() {
        let mut queue = Queue::default();
        queue.push(Urgency::File, "".into(), 0);
        let mut before = 0;
        loop {
            queue.push(Urgency::Phrase, "".into(), 1);
            queue.push(Urgency::Partial, "".into(), 2);
            match queue.pop() {
                Some(0) => break,
                _ => before += 1,
            }
        }
        assert_eq!(before, LIVE_IN_A_ROW);
        // Without a file that waits, nothing counts.
        for _ in 0..10 {
            queue.pop();
        }
        queue.push(Urgency::File, "".into(), 0);
        queue.push(Urgency::Phrase, "".into(), 1);
        assert_eq!(queue.pop(), Some(1));
    }

    #[test]
    fn clients_take_turns() {
        let mut queue = Queue::default();
        for file in ["a1", "a2", "a3", "a4"] {
            queue.push(Urgency::File, "a".into(), file);
        }
        assert_eq!(queue.pop(), Some("a1"));
        for (client, file) in [("b", "b1"), ("c", "c1"), ("b", "b2")] {
            queue.push(Urgency::File, client.into(), file);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, ["a2", "b1", "c1", "a3", "b2", "a4"]);
    }
}
