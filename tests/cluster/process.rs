//! A process whose log is read on, and that can be stopped, killed, and waited for.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::serve::PATIENCE;

/// How often is looked whether something has come about.
pub(super) const STEP: Duration = Duration::from_millis(20);

/// Waits until this holds.
pub(super) async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(STEP).await;
    }
}

/// A process, ended with the test.
pub(super) struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts it, and reads what it says on standard error from then on.
    pub(super) fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line));
        });
        Self { name: name.to_owned(), child, log }
    }

    /// The first line of its log that has this in it, once there is one.
    pub(super) async fn said(&mut self, wanted: &str) -> String {
        let begin = Instant::now();
        loop {
            // In this order: what it said last is read after its end.
            let over = self.child.try_wait().unwrap();
            if over.is_some() {
                tokio::time::sleep(10 * STEP).await;
            }
            if let Some(line) = self.find(wanted) {
                return line;
            }
            assert_eq!(over, None, "{} ended without saying {wanted:?}", self.name);
            assert!(begin.elapsed() < PATIENCE, "{} never said {wanted:?}", self.name);
            tokio::time::sleep(STEP).await;
        }
    }

    /// The first line of its log so far that has this in it.
    pub(super) fn find(&self, wanted: &str) -> Option<String> {
        self.log.lock().unwrap().iter().find(|line| line.contains(wanted)).cloned()
    }

    /// All that it said so far.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Sends it a signal, by its name without SIG.
    pub(super) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success(), "SIG{name} to {}", self.name);
    }

    /// `kill -9`, and gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How it ended by itself, within this time.
    pub(super) async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said last is read by then.
                tokio::time::sleep(10 * STEP).await;
                return status;
            }
            assert!(begin.elapsed() < patience, "{} does not end", self.name);
            tokio::time::sleep(STEP).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may have been stopped.
            let _ = Command::new("kill").args(["-CONT", &self.child.id().to_string()]).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let last = &log[log.len().saturating_sub(40)..];
            eprintln!("--- the last words of {}:\n{}", self.name, last.join("\n"));
        }
    }
}
