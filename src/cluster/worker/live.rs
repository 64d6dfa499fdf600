//! The windows of live streams: asked for by one door, answered to it. Nothing of them is stored: who asks asks again,
//! here or elsewhere, when no answer comes.

use std::sync::Arc;
use std::time::Duration;

use async_nats::service::Request;
use async_nats::service::endpoint::Endpoint;
use futures_util::StreamExt;
use tokio::task::JoinSet;

use super::super::wire::{self, JobMessage, ResultMessage};
use super::{Running, Shared};
use crate::error::Result;

/// Between two looks whether a window that nobody waits for has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes windows until the worker leaves, and answers those that it has.
pub(super) async fn take(shared: Arc<Shared>, mut endpoint: Endpoint) {
    let mut leaving = shared.leaving.clone();
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            request = endpoint.next() => match request {
                Some(request) => {
                    answers.spawn(answer(Arc::clone(&shared), request));
                }
                None => break,
            },
            Some(_) = answers.join_next() => {}
            _ = leaving.wait_for(|leaving| *leaving) => break,
        }
    }
    while answers.join_next().await.is_some() {}
}

async fn answer(shared: Arc<Shared>, request: Request) {
    let answer = match shared.answer(&request).await {
        Ok(answer) => answer,
        // Nobody can be told what it was.
        Err(error) => return tracing::warn!("a live window can't be read: {error}"),
    };
    if let Err(error) = request.respond(Ok(answer.into())).await {
        tracing::debug!("answering a live window: {error}");
    }
}

impl Shared {
    /// Notes that a window is begun. Whoever asks for it a second time does not hear the first answer any more.
    async fn begin_again(&self, id: &str) -> Running<'_> {
        loop {
            if let Some(running) = self.begin(id) {
                return running;
            }
            if let Some(cancel) = self.running().get(id) {
                cancel.cancel();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The answer to a window.
    async fn answer(&self, request: &Request) -> Result<Vec<u8>> {
        let job: JobMessage = wire::decode(&request.message.payload)?;
        let (id, worker) = (job.id.clone(), self.options.name.clone());
        let running = self.begin_again(&id).await;
        let outcome = self.hear("live", job, &running.cancel).await.map_err(|error| {
            // What nobody wants any more has not failed.
            if running.cancel.is_cancelled() { (&error).into() } else { self.failed(&error) }
        });
        wire::encode(&ResultMessage { id, worker, outcome })
    }
}
