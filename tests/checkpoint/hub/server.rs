//! A hub of our own: the paths, headers and redirects of the real one, and what can go wrong with them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha1::Sha1;
use sha2::{Digest, Sha256};

const MOVED: &str = "/moved";
pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// One repository.
#[derive(Default)]
pub(super) struct Repository {
    /// `OWNER/NAME`.
    pub(super) name: &'static str,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Those that lie in the storage, behind a redirect to another host, as large files do.
    pub(super) stored: Vec<&'static str>,
    /// Whether all others lie elsewhere on the same host, as they often do at the real hub.
    pub(super) moved: bool,
    /// Revisions beside `main` and the commit.
    pub(super) revisions: Vec<&'static str>,
    /// The token without which there is no access.
    pub(super) token: Option<&'static str>,
    pub(super) faults: Faults,
}

/// What goes wrong.
#[derive(Default)]
pub(super) struct Faults {
    /// The status and error code that every question is answered with.
    pub(super) status: Option<(u16, &'static str)>,
    /// So many answers of the storage stop in the middle.
    pub(super) cuts: usize,
    /// The storage gives other bytes than the hub says.
    pub(super) corrupt: bool,
    /// The storage has no ranges.
    pub(super) no_ranges: bool,
    /// Names in the list that are in no file system of ours.
    pub(super) listed: Vec<&'static str>,
    /// What stands in the place of the checksum, the size, and the commit.
    pub(super) etag: Option<&'static str>,
    pub(super) size: Option<&'static str>,
    pub(super) commit: Option<&'static str>,
    /// The storage gives more than was announced.
    pub(super) longer: bool,
}

/// A request that came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    /// By small name.
    pub(super) headers: BTreeMap<String, String>,
    /// Whether it came to the storage, not to the hub.
    pub(super) at_storage: bool,
}

/// The running servers: the hub's, and that of the storage, which is another host in the eyes of a client.
pub(super) struct Hub {
    pub(super) endpoint: String,
    repositories: Arc<Mutex<Vec<Repository>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Hub {
    pub(super) fn start(repositories: Vec<Repository>) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let storage_url = format!("http://{}", storage.local_addr().unwrap());
        let repositories = Arc::new(Mutex::new(repositories));
        let seen = Arc::new(Mutex::new(Vec::new()));
        for (listener, at_storage) in [(hub, false), (storage, true)] {
            let (repositories, seen) = (Arc::clone(&repositories), Arc::clone(&seen));
            let url = storage_url.clone();
            // Ends with the test's process.
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let Some(request) = read(&stream, at_storage) else { continue };
                    seen.lock().unwrap().push(request.clone());
                    let answer = answer(&mut repositories.lock().unwrap(), &request, &url);
                    let _ = answer.write(&stream, request.method == "HEAD");
                }
            });
        }
        Self { endpoint, repositories, seen }
    }

    /// Changes the first repository.
    pub(super) fn change(&self, change: impl FnOnce(&mut Repository)) {
        change(&mut self.repositories.lock().unwrap()[0]);
    }

    /// The requests since the last time.
    pub(super) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn read(stream: &TcpStream, at_storage: bool) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let headers = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    Some(Seen { method, path, headers: headers.collect(), at_storage })
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Only so much of the body leaves before the connection ends.
    cut: Option<usize>,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn refusal(status: u16, code: &str) -> Self {
        let answer = Self::new(status);
        if code.is_empty() { answer } else { answer.with("X-Error-Code", code) }
    }

    fn write(self, mut stream: &TcpStream, head: bool) -> std::io::Result<()> {
        write!(stream, "HTTP/1.1 {} X\r\nConnection: close\r\n", self.status)?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        write!(stream, "Content-Length: {}\r\n\r\n", self.body.len())?;
        if !head {
            stream.write_all(&self.body[..self.cut.unwrap_or(self.body.len())])?;
        }
        stream.flush()
    }
}

fn answer(all: &mut [Repository], request: &Seen, storage: &str) -> Answer {
    let in_storage = request.path.trim_start_matches('/').split('?').next().unwrap_or_default();
    let asked = |repository: &Repository| {
        let name = if request.at_storage { in_storage } else { request.path.as_str() };
        name.contains(&format!("{}/", repository.name))
    };
    let Some(repository) = all.iter_mut().find(|repository| asked(repository)) else {
        return Answer::refusal(401, "RepoNotFound");
    };
    if request.at_storage {
        let name = in_storage.strip_prefix(&format!("{}/", repository.name)).unwrap_or_default().to_owned();
        return stored(repository, request, &name);
    }
    if let Some((status, code)) = repository.faults.status {
        return Answer::refusal(status, code);
    }
    let sent = request.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
    if repository.token.is_some() && sent != repository.token {
        return Answer::refusal(401, "RepoNotFound");
    }
    let commit = repository.faults.commit.unwrap_or(COMMIT);
    let known = |revision: &str| {
        let revision = revision.replace("%2F", "/");
        revision == "main" || revision == COMMIT || repository.revisions.contains(&revision.as_str())
    };
    if let Some(revision) = request.path.strip_prefix(&format!("/api/models/{}/revision/", repository.name)) {
        if !known(revision) {
            return Answer::refusal(404, "RevisionNotFound");
        }
        let names =
            repository.files.keys().map(String::as_str).chain(repository.faults.listed.iter().copied());
        let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
        let mut answer = Answer::new(200).with("Content-Type", "application/json");
        answer.body = serde_json::json!({ "id": repository.name, "sha": commit, "siblings": siblings })
            .to_string()
            .into_bytes();
        return answer;
    }
    let path = request.path.strip_prefix(MOVED).unwrap_or(&request.path);
    let Some(rest) = path.strip_prefix(&format!("/{}/resolve/", repository.name)) else {
        return Answer::refusal(401, "RepoNotFound");
    };
    let Some((revision, name)) = rest.split_once('/') else { return Answer::refusal(404, "EntryNotFound") };
    let Some(content) = repository.files.get(name).filter(|_| known(revision)) else {
        return Answer::refusal(404, "EntryNotFound");
    };
    let answer = |status| Answer::new(status).with("X-Repo-Commit", commit);
    let faults = &repository.faults;
    if repository.stored.contains(&name) {
        let etag = faults.etag.map_or_else(|| hex(Sha256::digest(content)), str::to_owned);
        let size = faults.size.map_or_else(|| content.len().to_string(), str::to_owned);
        return answer(302)
            .with("Location", format!("{storage}/{}/{name}?signature=secret", repository.name))
            .with("X-Linked-Etag", format!("\"{etag}\""))
            .with("X-Linked-Size", size);
    }
    if repository.moved && !request.path.starts_with(MOVED) {
        return Answer::new(307).with("Location", format!("{MOVED}{}", request.path));
    }
    let git = Sha1::new().chain_update(format!("blob {}\0", content.len())).chain_update(content);
    let mut answer = answer(200).with("ETag", format!("W/\"{}\"", hex(git.finalize())));
    answer.body = content.clone();
    answer
}

/// What the storage answers: it has ranges, and an ETag of its own that is no checksum.
fn stored(repository: &mut Repository, request: &Seen, name: &str) -> Answer {
    let Some(content) = repository.files.get(name) else { return Answer::new(404) };
    let faults = &mut repository.faults;
    let mut content = content.clone();
    if faults.corrupt {
        let middle = content.len() / 2;
        content[middle] ^= 1;
    }
    if faults.longer {
        content.extend([0; 1000]);
    }
    let range =
        request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let from = range.filter(|_| !faults.no_ranges).and_then(|from| from.parse::<usize>().ok());
    let mut answer = Answer::new(if from.is_some() { 206 } else { 200 }).with("ETag", "\"not-a-checksum-2\"");
    let total = content.len();
    if let Some(from) = from {
        answer = answer.with("Content-Range", format!("bytes {from}-{}/{total}", total - 1));
    }
    answer.body = content.split_off(from.unwrap_or(0));
    if faults.cuts > 0 {
        faults.cuts -= 1;
        answer.cut = Some(answer.body.len() / 2);
    }
    answer
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
