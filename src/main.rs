//! The `imesli` program: arguments in, exit code out.
//!
//! Exit codes: 0 fine, 1 failed while running, 2 wrong arguments, an unusable checkpoint, certificate, key file or spool
//! folder, a port that is taken, or a broker that can't be reached, 130 when live audio was left at the second Ctrl-C.

use std::io::Write as _;
use std::process::ExitCode;
#[cfg(unix)]
use std::time::{Duration, Instant};

use anyhow::Context;
use imesli::cluster;
use imesli::config::{Cli, Command, KeyArgs, KeyCommand, ServeArgs, TlsFiles, WorkerArgs};
use imesli::error::Error;
use imesli::logging::start_with_traces;
use imesli::serve::access::{self, Access};
use imesli::serve::engine::Models;
use imesli::serve::{Service, certificate, tls};
use imesli::transcribe::{self, Outcome};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

fn main() -> ExitCode {
    imesli::memory::give_back_what_is_freed();
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let endpoint = cli.serve.otlp_endpoint.as_deref().filter(|url| cli.command.is_none() && !url.is_empty());
    let traces = match endpoint.map(|url| start_with_traces(cli.log_level, cli.log_format, url)).transpose() {
        Ok(traces) => traces,
        Err(error) => {
            imesli::logging::start(cli.log_level, cli.log_format);
            tracing::error!("--otlp-endpoint can't be used: {error:#}");
            return ExitCode::from(2);
        }
    };
    if traces.is_none() {
        imesli::logging::start(cli.log_level, cli.log_format);
    }
    match cli.command {
        None => serve(&cli.serve),
        Some(Command::Convert(args)) => imesli::report::run(&args, &["convert"]),
        Some(Command::Key(args)) => key(&args),
        Some(Command::Worker(args)) => work(&args),
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

/// The key goes to standard output by itself, what is to be said about it does not.
fn key(args: &KeyArgs) -> ExitCode {
    let KeyCommand::New(args) = &args.command;
    let key = match access::new_key(&args.key_file, &args.name, &args.rules()) {
        Ok(key) => key,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(if matches!(error, Error::InvalidInput(_)) { 2 } else { 1 });
        }
    };
    if let Err(error) = writeln!(std::io::stdout(), "{key}") {
        tracing::error!("the key is in the file, and can't be shown: {error}");
        return ExitCode::from(1);
    }
    let (name, file) = (&args.name, args.key_file.display());
    eprintln!("That is the key of {name}. Keep it: {file} has its hash alone, and it can't be shown again.");
    ExitCode::SUCCESS
}

/// What reads messages, on threads that let those of the model go first.
fn runtime() -> Result<Runtime, ExitCode> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().on_thread_start(step_back).build().map_err(|error| {
        tracing::error!("starting the runtime: {error}");
        ExitCode::from(1)
    })
}

/// Hears for others until it is told to stop. What fails is the beginning: a worker that has begun goes on trying.
fn work(args: &WorkerArgs) -> ExitCode {
    // On this thread, and not on one of the runtime's: the threads of the model have its priority.
    let loaded = match imesli::load::worker(&args.model) {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::error!("{error:#}");
            return ExitCode::from(2);
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(async {
        let asked = match shutdown_asked() {
            Ok(asked) => asked,
            Err(error) => {
                tracing::error!("listening for signals: {error}");
                return ExitCode::from(1);
            }
        };
        if let Err(error) = cluster::work(&args.nats(), loaded, args.options(), asked).await {
            tracing::error!("{error:#}");
            return ExitCode::from(2);
        }
        tracing::info!("stopped");
        ExitCode::SUCCESS
    })
}

fn serve(args: &ServeArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
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
        if let Err(error) = imesli::serve::run(listener, service, asked).await {
            tracing::error!("{error}");
            return ExitCode::from(1);
        }
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
    let address = listener.local_addr().context("asking for the address")?;
    let access = Access::new(args.access.options(address.ip().to_canonical().is_loopback()))?;
    let files = match args.tls() {
        TlsFiles::None => None,
        TlsFiles::Given { cert, key } => Some((cert, key)),
        TlsFiles::SelfSigned(dir) => Some(certificate::self_signed(&dir)?),
    };
    let tls = match files {
        Some((cert, key)) => Some(tls::Acceptor::from_files(&cert, &key).await?),
        None => None,
    };
    let metrics = match &args.metrics_listen {
        Some(address) => Some(
            TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen on {address} for metrics"))?,
        ),
        None => None,
    };
    let limits = args.limits();
    limits.check_spool()?;
    let models = match args.door() {
        Some((nats, options)) => Models::Elsewhere(cluster::door(&nats, options).await?),
        None => own_model(args)?,
    };
    let service = Service {
        models,
        access,
        defaults: args.decode.request(),
        limits,
        tls,
        metrics,
        hangups: hangups().context("listening for SIGHUP")?,
    };
    Ok((listener, service))
}

/// The model in this process, and how it is loaded anew.
fn own_model(args: &ServeArgs) -> anyhow::Result<Models> {
    let requests = args.limits.max_requests as usize;
    let transcriber = imesli::load::transcriber(&args.model, requests)?;
    let model = args.model.clone();
    let load = beside(move || {
        imesli::load::transcriber(&model, requests).map_err(|error| Error::InvalidInput(format!("{error:#}")))
    });
    Ok(Models::Own { transcriber: Box::new(transcriber), id: args.model.name(), load: Some(Box::new(load)) })
}

/// Lets the threads of the model go first: those that read messages and decode files have less to do, and a flood of
/// either must not keep it from working. Called on each thread of the runtime.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NETWORK_NICENESS) {
        tracing::debug!("a thread keeps its priority: {error}");
    }
}

/// The model's threads get nine tenths of a core that both want.
#[cfg(target_os = "linux")]
const NETWORK_NICENESS: i32 = 10;

/// Does a work on a thread of its own, which is started here: threads that it starts, those of a model, have its
/// priority and not that of who asks.
fn beside<T: Send + 'static>(
    work: impl Fn() -> Result<T, Error> + Send + 'static,
) -> impl Fn() -> Result<T, Error> + Send + Sync {
    let (ask, asked) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<Result<T, Error>>>();
    std::thread::spawn(move || {
        for answer in asked {
            let _ = answer.send(work());
        }
    });
    let gone = || Error::internal("the thread that loads models is gone");
    move || {
        let (answer, answered) = std::sync::mpsc::channel();
        ask.send(answer).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

/// Something for each SIGHUP.
#[cfg(unix)]
fn hangups() -> std::io::Result<Option<mpsc::Receiver<()>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    // One that comes while another is being followed asks for no more than that.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let _ = sender.try_send(());
        }
    });
    Ok(Some(receiver))
}

/// There is no such signal.
#[cfg(not(unix))]
fn hangups() -> std::io::Result<Option<mpsc::Receiver<()>>> {
    Ok(None)
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
