//! A transcript as it grows, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Instrument, Span};

use super::super::Shared;
use super::super::failure::Failure;
use super::super::job::{self, Front, Outcome, Work};
use super::refusal::{Refusal, Shape};

/// How often something is sent in any case, so that nobody takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// An event. The texts of all deltas together are the text.
#[derive(Debug, PartialEq)]
enum Said {
    Delta(String),
    Done(String),
    Failed(Failure),
}

impl Said {
    fn data(self) -> Value {
        match self {
            Self::Delta(delta) => json!({ "type": "transcript.text.delta", "delta": delta }),
            Self::Done(text) => json!({ "type": "transcript.text.done", "text": text }),
            Self::Failed(failure) => Refusal::from(failure).body(Shape::OpenAi),
        }
    }
}

type Running = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send>>;

/// A job that is running. Dropped, it is given up.
struct Growing {
    job: Running,
    /// The text that does not change any more. Who reads slowly gets more of it at a time.
    settled: watch::Receiver<String>,
    /// What has been said of it.
    said: String,
    /// What comes last.
    last: Option<String>,
    over: bool,
}

impl Growing {
    fn new(job: Running, settled: watch::Receiver<String>) -> Self {
        Self { job, settled, said: String::new(), last: None, over: false }
    }

    /// The next event. To drop the future loses none.
    async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(text) = self.last.take() {
                return Some(Said::Done(text));
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                result = &mut self.job => {
                    self.over = true;
                    match result {
                        Err(failure) => return Some(Said::Failed(failure)),
                        Ok(text) => {
                            let Some(rest) = self.beyond(&text) else {
                                tracing::error!("a text that was settled has changed");
                                return Some(Said::Failed(Failure::internal()));
                            };
                            self.last = Some(text);
                            if !rest.is_empty() {
                                return Some(Said::Delta(rest));
                            }
                        }
                    }
                }
                Ok(()) = self.settled.changed() => {
                    let text = self.settled.borrow_and_update().clone();
                    if let Some(rest) = self.beyond(&text).filter(|rest| !rest.is_empty()) {
                        self.said = text;
                        return Some(Said::Delta(rest));
                    }
                }
            }
        }
    }

    /// What a text has beyond that which was said; `None` when it does not begin with that.
    fn beyond(&self, text: &str) -> Option<String> {
        text.strip_prefix(&self.said).map(str::to_owned)
    }
}

/// Does a job and tells of it. What fails before there is anything to tell, and soon, is refused as always.
pub(super) async fn answer(shared: Arc<Shared>, work: Work, front: Front) -> Result<Response, Refusal> {
    let (settle, settled) = watch::channel(String::new());
    let job = async move {
        let grown = move |progress: crate::asr::transcriber::Progress<'_>| {
            settle.send_replace(progress.text());
        };
        let Outcome { transcript, .. } = job::run(&shared, work, front, grown).await?;
        Ok::<_, Failure>(transcript.text)
    };
    let mut growing = Growing::new(Box::pin(job.instrument(Span::current())), settled);
    let first = match timeout(KEEP_ALIVE, growing.next()).await {
        Ok(Some(Said::Failed(failure))) => return Err(failure.into()),
        Ok(first) => first,
        Err(_) => None,
    };
    let events = stream::unfold((first, growing), |(first, mut growing)| async move {
        let said = match first {
            Some(said) => said,
            None => growing.next().await?,
        };
        Some((Ok::<_, Infallible>(Event::default().data(said.data().to_string())), (None, growing)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use tokio::sync::oneshot;

    use super::super::super::protocol::Code;
    use super::*;

    type Ending = oneshot::Sender<Result<String, Failure>>;

    fn growing() -> (watch::Sender<String>, Ending, Growing) {
        let (settle, settled) = watch::channel(String::new());
        let (end, ended) = oneshot::channel::<Result<String, Failure>>();
        let job = async move { ended.await.unwrap_or_else(|_| Err(Failure::internal())) };
        (settle, end, Growing::new(Box::pin(job), settled))
    }

    #[tokio::test]
    async fn deltas_add_up_to_the_text() {
        let (settle, end, mut growing) = growing();
        for text in ["seven", "seven three"] {
            settle.send_replace(text.to_owned());
            assert!(matches!(growing.next().await, Some(Said::Delta(_))));
        }
        // Nothing new is nothing to say.
        settle.send_replace("seven three".to_owned());
        let waiting = timeout(Duration::from_millis(20), growing.next());
        assert!(waiting.await.is_err());
        end.send(Ok("seven three zero".to_owned())).unwrap();
        assert_eq!(growing.said, "seven three");
        assert_eq!(growing.next().await, Some(Said::Delta(" zero".to_owned())));
        assert_eq!(growing.next().await, Some(Said::Done("seven three zero".to_owned())));
        assert_eq!(growing.next().await, None);
    }

    #[tokio::test]
    async fn who_reads_late_gets_all_at_once() {
        let (settle, end, mut growing) = growing();
        settle.send_replace("seven".to_owned());
        settle.send_replace("seven three".to_owned());
        end.send(Ok("seven three".to_owned())).unwrap();
        assert_eq!(growing.next().await, Some(Said::Delta("seven three".to_owned())));
        assert_eq!(growing.next().await, Some(Said::Done("seven three".to_owned())));
    }

    #[tokio::test]
    async fn silence_has_no_delta() {
        let (_settle, end, mut growing) = growing();
        end.send(Ok(String::new())).unwrap();
        assert_eq!(growing.next().await, Some(Said::Done(String::new())));
        assert_eq!(growing.next().await, None);
    }

    #[tokio::test]
    async fn a_failure_ends_it() {
        let (settle, end, mut growing) = growing();
        settle.send_replace("seven".to_owned());
        assert_eq!(growing.next().await, Some(Said::Delta("seven".to_owned())));
        end.send(Err(Failure::new(Code::Cancelled, "no"))).unwrap();
        let failed = growing.next().await.unwrap().data();
        assert_eq!(failed.pointer("/error/code"), Some(&json!("cancelled")));
        assert_eq!(growing.next().await, None);
    }

    #[tokio::test]
    async fn what_was_said_is_never_taken_back() {
        let (settle, end, mut growing) = growing();
        settle.send_replace("seven".to_owned());
        assert_eq!(growing.next().await, Some(Said::Delta("seven".to_owned())));
        end.send(Ok("eight".to_owned())).unwrap();
        assert_eq!(growing.next().await, Some(Said::Failed(Failure::internal())));
    }
}
