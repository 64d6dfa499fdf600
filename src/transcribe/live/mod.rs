//! `imesli transcribe --live`: text that grows while somebody speaks.
//!
//! - `input`: the thread that reads the audio.
//! - `report`: what becomes of the text, by format; `page`: how it grows on a terminal or in a pipe.
//!
//! - `local`: what finds the text where no server is named.

mod input;
mod local;
mod page;
mod report;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::input::Input;
use self::report::Report;
use super::{Outcome, remote_options};
use crate::client::live::{Ending, Event, Live};
use crate::client::{Address, Error};
use crate::config::TranscribeArgs;
use crate::load;

/// A signal that comes so soon after the first is the same wish: some tools send it to a process and to its group.
const ONE_WISH: Duration = Duration::from_millis(500);

/// Sends live audio to a server, or to one of our own, and writes its text.
pub(super) async fn run(path: &Path, args: &TranscribeArgs, out: &mut impl Write) -> anyhow::Result<Outcome> {
    let own;
    let server = match &args.server {
        Some(server) => server,
        None => match load::transcriber(&args.model, 1) {
            Ok(transcriber) => {
                own = local::start(transcriber, args).await?;
                &own
            }
            Err(error) => {
                tracing::error!("{error:#}");
                return Ok(Outcome::UnusableCheckpoint);
            }
        },
    };
    let (stop, stopped) = oneshot::channel();
    let work = transcribe(path, server, args, out, async {
        // Nobody drops the other end before this is done.
        let _ = stopped.await;
    });
    tokio::select! {
        outcome = work => outcome,
        () = interrupted_twice(stop) => Ok(Outcome::Interrupted),
    }
}

/// Tells of the first Ctrl-C, and resolves at the second.
async fn interrupted_twice(stop: oneshot::Sender<()>) {
    interrupted().await;
    let first = Instant::now();
    let _ = stop.send(());
    loop {
        interrupted().await;
        if first.elapsed() >= ONE_WISH {
            return;
        }
    }
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::warn!("Ctrl-C does not end this: {error}");
        std::future::pending().await
    }
}

async fn transcribe(
    path: &Path,
    server: &Address,
    args: &TranscribeArgs,
    out: &mut impl Write,
    stopped: impl Future<Output = ()> + 'static,
) -> anyhow::Result<Outcome> {
    let name = path.display().to_string();
    let mut input = Input::start(path, args.live.sound())?;
    let sound = match (&mut input.sound).await {
        Ok(Ok(sound)) => sound,
        Ok(Err(error)) => {
            tracing::error!("{name}: {error}");
            return Ok(Outcome::SomeFailed);
        }
        Err(_) => anyhow::bail!("{name} can't be read"),
    };
    let (audio, reader) = input.split();
    let mut report = Report::new(&name, args, out);
    let live = Live {
        address: server.clone(),
        insecure: args.insecure,
        key: args.key.clone(),
        sound,
        partials: report.grows(),
        silence_ms: args.live.silence_ms,
        options: remote_options(args),
    };
    let result = live.run(audio, stopped, |event: Event<'_>| report.show(event)).await;
    let mut outcome = Outcome::Fine;
    match result {
        Ok(Ending { answer, cut }) => {
            report.finish(&answer)?;
            if let Some(fact) = cut {
                tracing::error!("{name}: the server ended the stream: {fact}");
                outcome = Outcome::SomeFailed;
            }
        }
        Err(error @ Error::Output(_)) => return Err(error.into()),
        Err(error) => {
            report.give_up()?;
            tracing::error!("{name}: {error}");
            outcome = Outcome::SomeFailed;
        }
    }
    if let Some(error) = reader.failure() {
        tracing::error!("{name}: {error}");
        outcome = Outcome::SomeFailed;
    }
    Ok(outcome)
}
