//! More than one machine: a door that takes connections, and workers that hear windows, with NATS JetStream between them.
//!
//! - [`door()`]: the models of all workers as a server's catalog. `remote`: the workers of a model as what hears windows;
//!   `flight`: one window on its way; `results`: what comes back; `directory`: who is there.
//! - [`work`]: a worker. `worker`: what it takes, one job, a live stream's windows, what it says of itself.
//! - `broker`: streams and messages of NATS; `objects`: what is too large for one; `connection`: the way there.
//! - `wire`, `audio`, `card`: what goes over it. `names`: what things are called there. Pure.
//!
//! Windows of files are jobs in a work-queue stream: whichever worker is free takes one, says while it hears it that it is
//! at it, stores the result, and acknowledges the job; one that is not acknowledged is begun again elsewhere. Results are
//! keyed by the job's id, so that it does no harm when two have done it.

mod audio;
mod broker;
mod card;
mod connection;
mod directory;
mod door;
mod flight;
mod names;
mod objects;
mod remote;
mod results;
mod wire;
mod worker;

pub use connection::NatsOptions;
pub use door::DoorOptions;
pub use worker::{Loaded, WorkerOptions, work};

use std::sync::Arc;

use crate::asr::catalog::Catalog;

/// The models that workers have, at a broker. Within a tokio runtime.
///
/// # Errors
/// When the broker can't be reached for half a minute, or does not let us in; when the voice detector can't be used.
pub async fn door(nats: &NatsOptions, options: DoorOptions) -> anyhow::Result<Arc<dyn Catalog>> {
    Ok(door::Door::begin(nats, options).await?)
}
