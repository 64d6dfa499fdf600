//! Live audio without a server elsewhere: one of our own, for this recording, that nobody else is told of.
//!
//! The way through the protocol costs next to nothing beside the model, and the text then grows, breaks off and ends in
//! one and the same way wherever the model is.

use std::net::Ipv4Addr;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::asr::transcriber::Transcriber;
use crate::client::Address;
use crate::config::TranscribeArgs;
use crate::serve::access::{Access, AccessOptions};
use crate::serve::limits::Limits;
use crate::serve::{self, Service};

/// Starts it on a port of this machine that was free. It ends with the program.
///
/// # Errors
/// When there is no port to be had.
pub(super) async fn start(transcriber: Transcriber, args: &TranscribeArgs) -> anyhow::Result<Address> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port is to be had")?;
    let port = listener.local_addr().context("no port is to be had")?.port();
    // One connection, and another one in its place should it break.
    let limits = Limits { connections: 2, streams: 1, ..Limits::default() };
    let access = Access::new(AccessOptions { loopback: true, ..AccessOptions::default() })?;
    let service = Service::new(transcriber, access, args.decode.request(), limits);
    tokio::spawn(serve::run(listener, service, std::future::pending()));
    format!("ws://127.0.0.1:{port}").parse().map_err(anyhow::Error::msg)
}
