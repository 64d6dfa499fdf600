//! What workers have heard, given to who waits for it here. Each result is stored at the broker until it was taken from
//! there, so that neither a restart of the broker nor a lost connection loses one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Message;
use futures_util::StreamExt;
use tokio::sync::oneshot;

use super::broker::Broker;
use super::wire::{self, ResultMessage};

/// Results that are asked for at a time.
const BATCH: usize = 64;
/// The broker says that often that it is there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A question for results lasts so long, then comes the next one.
const EXPIRES: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Who waits for which job.
#[derive(Debug, Default)]
pub(super) struct Results {
    waiting: Mutex<HashMap<String, oneshot::Sender<ResultMessage>>>,
}

impl Results {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<ResultMessage>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes of a job will come out here.
    pub(super) fn expect(&self, job: &str) -> oneshot::Receiver<ResultMessage> {
        let (tell, told) = oneshot::channel();
        self.lock().insert(job.to_owned(), tell);
        told
    }

    /// Nobody waits for it any more.
    pub(super) fn forget(&self, job: &str) {
        self.lock().remove(job);
    }

    /// Gives a result to who waits for it. One that nobody waits for came twice, or too late: it is of no use.
    fn deliver(&self, result: ResultMessage) {
        if let Some(waiting) = self.lock().remove(&result.id) {
            let _ = waiting.send(result);
        }
    }
}

/// Takes the results of a door from the broker, for ever.
pub(super) async fn take_in(broker: Broker, door: String, results: Arc<Results>) {
    loop {
        if let Err(error) = take(&broker, &door, &results).await {
            tracing::debug!("results: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same until something goes wrong.
async fn take(broker: &Broker, door: &str, results: &Results) -> std::result::Result<(), async_nats::Error> {
    let consumer = broker.results(door).await?;
    let stream = consumer.stream().max_messages_per_batch(BATCH).expires(EXPIRES).heartbeat(HEARTBEAT);
    let mut messages = stream.messages().await?;
    while let Some(message) = messages.next().await {
        let message: Message = message?;
        match wire::decode(&message.payload) {
            Ok(result) => results.deliver(result),
            Err(error) => tracing::warn!("a result can't be read: {error}"),
        }
        // It is deleted now. Where that gets lost it comes again, and is of no use then.
        message.ack().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;
    use crate::asr::recognizer::Heard;

    fn result(id: &str) -> ResultMessage {
        ResultMessage { id: id.into(), worker: "w".into(), outcome: Ok(Heard::default()) }
    }

    #[test]
    fn a_result_is_delivered_once() {
        let results = Results::default();
        let mut told = results.expect("a");
        results.deliver(result("b"));
        assert!(told.try_recv().is_err());
        results.deliver(result("a"));
        assert_eq!(told.try_recv().unwrap().id, "a");
        results.deliver(result("a"));
        assert!(results.lock().is_empty());
    }

    #[test]
    fn what_is_not_wanted_is_forgotten() {
        let results = Results::default();
        let told = results.expect("a");
        results.forget("a");
        assert!(results.lock().is_empty());
        assert!(told.blocking_recv().is_err());
    }
}
