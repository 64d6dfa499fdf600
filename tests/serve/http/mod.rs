//! The HTTP API over real sockets, with a client that knows no more than HTTP.

mod access;
mod catalog;
mod errors;
mod formats;
mod inference;
mod manage;
mod stream;

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{PATIENCE, SAID, Server, Setup};
use crate::support::root;

/// What stands between the fields of the forms here.
const BOUNDARY: &str = "----imesli-test-7MA4YWxkTrZu0gW";

/// A connection, on which one request may follow another.
struct Http(BufReader<TcpStream>);

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn find(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error in OpenAI's shape: its code and the field that it names.
    fn error(&self, status: u16) -> (String, Option<String>) {
        assert_eq!(self.status, status, "{}", self.text());
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().unwrap().is_empty() && error["type"].is_string(), "{error}");
        (error["code"].as_str().unwrap().to_owned(), error["param"].as_str().map(str::to_owned))
    }
}

impl Http {
    async fn connect(server: &Server) -> Self {
        Self(BufReader::new(TcpStream::connect(server.address).await.unwrap()))
    }

    /// Sends a request as it is.
    async fn send(&mut self, request: &[u8]) {
        self.0.get_mut().write_all(request).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("no answer").unwrap();
        assert!(line.ends_with('\n'), "the connection ended after {line:?}");
        line.trim_end().to_owned()
    }

    /// The head of an answer.
    async fn head(&mut self) -> Answer {
        let status = self.line().await.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                return Answer { status, headers, body: Vec::new() };
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }

    /// A piece of a chunked body; empty at its end.
    async fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        let mut chunk = vec![0; size];
        self.0.read_exact(&mut chunk).await.unwrap();
        assert_eq!(self.line().await, "");
        chunk
    }

    async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        if answer.find("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk().await;
                if chunk.is_empty() {
                    return answer;
                }
                answer.body.extend(chunk);
            }
        }
        answer.body = vec![0; answer.find("content-length").map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut answer.body).await.unwrap();
        answer
    }

    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(&request(method, path, headers, body)).await;
        if method == "HEAD" { self.head().await } else { self.answer().await }
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: speech.example\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// One field of a form; a file when it has a name.
fn part(name: &str, file_name: Option<&str>, content: &[u8]) -> Vec<u8> {
    let file =
        file_name.map(|name| format!("; filename=\"{name}\"\r\nContent-Type: audio/wav")).unwrap_or_default();
    let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// A form with these fields, and behind them a file.
pub(crate) fn form(fields: &[(&str, &str)], file: &[u8]) -> Vec<u8> {
    let fields = fields.iter().flat_map(|(name, value)| part(name, None, value.as_bytes()));
    fields.chain(part("file", Some("speech.wav"), file)).chain(end()).collect()
}

pub(crate) fn form_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
const TRANSLATIONS: &str = "/v1/audio/translations";

/// A recording of [`SAID`].
fn recorded(index: usize) -> Vec<u8> {
    std::fs::read(root(SAID[index].0)).unwrap()
}

async fn get(server: &Server, path: &str) -> Answer {
    Http::connect(server).await.ask("GET", path, &[], b"").await
}

async fn post_body(server: &Server, path: &str, body: &[u8]) -> Answer {
    Http::connect(server).await.ask("POST", path, &[("Content-Type", &form_type())], body).await
}

/// Posts a recording with these fields.
async fn post(server: &Server, path: &str, fields: &[(&str, &str)]) -> Answer {
    post_body(server, path, &form(fields, &recorded(0))).await
}

#[tokio::test]
async fn several_requests_share_a_connection() {
    let server = Server::start(Setup::default()).await;
    let mut http = Http::connect(&server).await;
    for index in [0, 1] {
        let body = form(&[("model", "whisper-1")], &recorded(index));
        let answer = http.ask("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], &body).await;
        assert_eq!(answer.json()["text"], SAID[index].1);
        assert_eq!(http.ask("GET", "/health", &[], b"").await.status, 200);
    }
    // Also one whose end comes late, and behind which something follows.
    let body = [form(&[], &recorded(0)), b"an epilogue".to_vec()].concat();
    let whole = request("POST", TRANSCRIPTIONS, &[("Content-Type", &form_type())], &body);
    let (first, rest) = whole.split_at(whole.len() - 20);
    http.send(first).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    http.send(rest).await;
    assert_eq!(http.answer().await.json()["text"], SAID[0].1);
    assert_eq!(http.ask("GET", "/v1/models", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_body_in_chunks_will_do() {
    let server = Server::start(Setup::default()).await;
    let mut http = Http::connect(&server).await;
    let kind = form_type();
    let head = format!(
        "POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    http.send(head.as_bytes()).await;
    for chunk in form(&[("language", "en")], &recorded(0)).chunks(1000) {
        http.send(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat()).await;
    }
    http.send(b"0\r\n\r\n").await;
    assert_eq!(http.answer().await.json()["text"], SAID[0].1);
    assert_eq!(http.ask("GET", "/health", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_websocket_may_come_in_on_any_path() {
    let server = Server::start(Setup::default()).await;
    for path in ["/health", TRANSCRIPTIONS, "/v1/anything", "/inference"] {
        let mut client = super::Client::connect(&format!("ws://{}{path}", server.address)).await;
        assert_eq!(client.state().await, "ready", "{path}");
    }
}
