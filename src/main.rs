//! The `imesli` program: arguments in, exit code out.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 wrong arguments, an unusable checkpoint or certificate, or a
//! port that is taken, 130 when live audio was left at the second Ctrl-C.

use std::process::ExitCode;
#[cfg(unix)]
use std::time::{Duration, Instant};

use anyhow::Context;
use imesli::config::{Cli, Command, ServeArgs, TlsFiles};
use imesli::serve::{Service, certificate, tls};
use imesli::transcribe::{self, Outcome};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    imesli::memory::give_back_what_is_freed();
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    imesli::logging::start(cli.log_level);
    match cli.command {
        None => serve(&cli.serve),
        Some(Command::Convert(args)) => imesli::report::run(&args, &["convert"]),
        Some(Command::Transcribe(args)) => match transcribe::run(&args, &mut std::io::stdout().lock()) {
            Ok(Outcome::Fine) => ExitCode::SUCCESS,
            Ok(Outcome::SomeFailed) => ExitCode::from(1),
            Ok(Outcome::UnusableCheckpoint | Outcome::WrongArguments) => ExitCode::from(2),
            Ok(Outcome::Interrupted) => ExitCode::from(130),
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::from(1)
            }
        },
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("starting the runtime: {error}");
            return ExitCode::from(1);
        }
    };
    runtime.block_on(async {
        let (listener, service) = match prepare(args).await {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!("{error:#}");
                return ExitCode::from(2);
            }
        };
        let scheme = if service.tls.is_some() { "wss" } else { "ws" };
        let asked = match shutdown_asked() {
            Ok(asked) => asked,
            Err(error) => {
                tracing::error!("listening for signals: {error}");
                return ExitCode::from(1);
            }
        };
        if let Ok(address) = listener.local_addr() {
            tracing::info!("listening on {scheme}://{address}");
        }
        imesli::serve::run(listener, service, asked).await;
        tracing::info!("stopped");
        ExitCode::SUCCESS
    })
}

/// What can fail before the first client: the port first, because it is quickest.
async fn prepare(args: &ServeArgs) -> anyhow::Result<(TcpListener, Service)> {
    let address = (args.host.as_str(), args.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {}, port {}", args.host, args.port))?;
    let files = match args.tls() {
        TlsFiles::None => None,
        TlsFiles::Given { cert, key } => Some((cert, key)),
        TlsFiles::SelfSigned(dir) => Some(certificate::self_signed(&dir)?),
    };
    let tls = match files {
        Some((cert, key)) => Some(tls::Acceptor::from_files(&cert, &key).await?),
        None => None,
    };
    let requests = args.limits.max_requests as usize;
    let transcriber = imesli::load::transcriber(&args.model, requests)?;
    let service = Service { transcriber, defaults: args.decode.request(), limits: args.limits.limits(), tls };
    Ok((listener, service))
}

/// Signals that come so soon after the first are the same wish: `timeout` and some supervisors send it to the
/// process and to its group.
#[cfg(unix)]
const ONE_WISH: Duration = Duration::from_millis(500);

/// Resolves at the first Ctrl-C or SIGTERM. The second ends the program at once.
#[cfg(unix)]
fn shutdown_asked() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        let first = Instant::now();
        tokio::spawn(async move {
            while first.elapsed() < ONE_WISH {
                next().await;
            }
            leave_at_once();
        });
    })
}

/// The same where there is only Ctrl-C.
#[cfg(not(unix))]
fn shutdown_asked() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            leave_at_once();
        });
    })
}

/// Ends the process without its exit handlers. `std::process::exit` would run them, C++'s destructors of
/// whisper.cpp's static objects among them, under the states that still compute with these: a crash.
fn leave_at_once() -> ! {
    signal_hook::low_level::exit(1)
}
