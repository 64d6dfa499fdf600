//! The queue at the door: who may wait, for how much audio, and how long that will take.
//!
//! It counts requests and seconds of audio. A client alone may not take all places: beyond a few it may have as many
//! as are left to others (the dynamic threshold of A. K. Choudhury and E. L. Hahne, *Dynamic Queue Length Thresholds for
//! Shared-Memory Packet Switches*, 1998, with α = 1), so that who comes next always finds one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::Failure;
use super::protocol::Code;

/// Places that every client may take as long as there are any.
const OWN_PLACES: usize = 16;
/// How much the speed of the last recording counts, beside all before it.
const NEWS: f64 = 0.2;
/// What a client is told to wait at least, and at most, in seconds.
const RETRY: (f64, f64) = (1.0, 600.0);
/// What it is told when nothing has been measured yet.
const RETRY_UNKNOWN: f64 = 10.0;

/// All requests that wait or are worked on.
#[derive(Debug)]
pub(super) struct Queue {
    places: usize,
    max_seconds: f64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Places by client.
    clients: HashMap<String, usize>,
    /// Seconds of audio of those whose length is known.
    seconds: f64,
    /// Seconds of work for a second of audio, and on how many states.
    speed: Option<(f64, usize)>,
}

impl State {
    /// Seconds until what is here is done.
    fn wait(&self) -> f64 {
        let estimate = self.speed.map(|(speed, states)| self.seconds * speed / states.max(1) as f64);
        estimate.unwrap_or(RETRY_UNKNOWN).clamp(RETRY.0, RETRY.1)
    }

    fn retry_after(&self) -> u64 {
        self.wait().ceil() as u64
    }

    fn full(&self, message: String) -> Failure {
        Failure::new(Code::Overloaded, message).after(self.retry_after())
    }
}

/// A place in the queue, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    queue: Arc<Queue>,
    client: String,
    seconds: f64,
}

impl Queue {
    /// An empty one for so many requests and seconds of audio.
    pub(super) fn new(places: usize, max_seconds: f64) -> Arc<Self> {
        Arc::new(Self { places, max_seconds, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request of a client, whose audio is not known yet.
    pub(super) fn enter(self: &Arc<Self>, client: &str) -> Result<Place, Failure> {
        let mut state = self.lock();
        self.check_places(&state)?;
        let own = state.clients.get(client).copied().unwrap_or(0);
        if own >= OWN_PLACES && own > self.places - state.taken {
            return Err(state.full(format!("{own} requests of yours wait already; try again later")));
        }
        state.taken += 1;
        *state.clients.entry(client.to_owned()).or_default() += 1;
        Ok(Place { queue: Arc::clone(self), client: client.to_owned(), seconds: 0.0 })
    }

    fn check_places(&self, state: &State) -> Result<(), Failure> {
        if state.taken < self.places {
            return Ok(());
        }
        Err(state.full(format!("all {} places are taken; try again later", self.places)))
    }

    /// Whether another request would find a place.
    pub(super) fn has_room(&self) -> bool {
        self.check().is_ok()
    }

    /// The same, and why not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let state = self.lock();
        self.check_places(&state)?;
        if state.seconds >= self.max_seconds {
            let waiting = state.seconds.round();
            return Err(state.full(format!("{waiting} s of audio wait already; try again later")));
        }
        Ok(())
    }

    /// Seconds after which who is refused may come again.
    pub(super) fn retry_after(&self) -> u64 {
        self.lock().retry_after()
    }

    /// Requests, and seconds of their audio as far as it is known.
    pub(super) fn load(&self) -> (usize, f64) {
        let state = self.lock();
        (state.taken, state.seconds)
    }

    /// Notes that a recording took `work` seconds of a state's time, of which there are so many.
    pub(super) fn measured(&self, audio: f64, work: f64, states: usize) {
        if audio <= 0.0 {
            return;
        }
        let now = work / audio;
        let mut state = self.lock();
        let speed = state.speed.map_or(now, |(before, _)| before + NEWS * (now - before));
        state.speed = Some((speed, states));
    }
}

impl Place {
    /// Says how long the audio is. Refused when that is more than may wait; one that is alone may be as long as it likes.
    pub(super) fn lengthen(&mut self, seconds: f64) -> Result<(), Failure> {
        let mut state = self.queue.lock();
        let others = state.seconds - self.seconds;
        if others > 0.0 && others + seconds > self.queue.max_seconds {
            let waiting = others.round();
            return Err(state.full(format!("{waiting} s of audio wait already; try again later")));
        }
        state.seconds = others + seconds;
        self.seconds = seconds;
        Ok(())
    }

    /// Says how much of the audio is not done yet.
    pub(super) fn shorten(&mut self, seconds: f64) {
        let mut state = self.queue.lock();
        let left = seconds.clamp(0.0, self.seconds);
        state.seconds -= self.seconds - left;
        self.seconds = left;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.taken = state.taken.saturating_sub(1);
        // Sums of fractions don't end at nothing by themselves.
        state.seconds = if state.taken == 0 { 0.0 } else { (state.seconds - self.seconds).max(0.0) };
        if let Entry::Occupied(mut own) = state.clients.entry(std::mem::take(&mut self.client)) {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn a_full_house_says_when_to_come_again() {
        let queue = Queue::new(2, 100.0);
        let mut first = queue.enter("a").unwrap();
        let _second = queue.enter("b").unwrap();
        assert!(!queue.has_room());
        let failure = queue.enter("c").unwrap_err();
        assert_eq!((failure.code, failure.retry_after), (Code::Overloaded, Some(10)));
        assert_eq!(queue.retry_after(), 10);
        queue.measured(10.0, 5.0, 1);
        first.lengthen(60.0).unwrap();
        assert_eq!(queue.enter("c").unwrap_err().retry_after, Some(30));
        first.shorten(10.0);
        assert_eq!(queue.enter("c").unwrap_err().retry_after, Some(5));
        drop(first);
        assert!(queue.has_room());
        assert!(queue.enter("c").is_ok());
    }

    #[test]
    fn one_client_leaves_places_to_others() {
        let queue = Queue::new(64, 100.0);
        let mut greedy = Vec::new();
        while let Ok(place) = queue.enter("greedy") {
            greedy.push(place);
        }
        assert_eq!(greedy.len(), 33);
        let others: Vec<_> = (0..31).map_while(|n| queue.enter(&format!("{n}")).ok()).collect();
        assert_eq!(others.len(), 31);
        drop(greedy);
        assert_eq!(queue.load().0, 31);
        drop(others);
        assert_eq!(queue.lock().clients, HashMap::new());
    }

    #[test]
    fn a_small_house_is_open_to_all_of_one_client() {
        let queue = Queue::new(OWN_PLACES, 100.0);
        let all: Vec<_> = (0..OWN_PLACES + 1).map_while(|_| queue.enter("a").ok()).collect();
        assert_eq!(all.len(), OWN_PLACES);
    }

    #[test]
    fn audio_beyond_the_limit_waits_elsewhere_but_never_in_vain() {
        let queue = Queue::new(8, 100.0);
        let mut long = queue.enter("a").unwrap();
        long.lengthen(5_000.0).unwrap();
        assert!(!queue.has_room());
        let mut short = queue.enter("b").unwrap();
        assert_eq!(short.lengthen(3.0).unwrap_err().code, Code::Overloaded);
        long.shorten(50.0);
        short.lengthen(3.0).unwrap();
        assert_eq!(queue.load(), (2, 53.0));
        drop((long, short));
        assert_eq!(queue.load(), (0, 0.0));
    }
}
