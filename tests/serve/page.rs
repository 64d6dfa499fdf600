//! The page that a browser is shown: all its files, their headers, and that they ask for nothing from elsewhere.

use std::collections::BTreeSet;

use imesli::serve::limits::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Server, Setup};
use crate::support::root;

/// An answer: its status, its headers in lower case, its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }
}

async fn ask(server: &Server, method: &str, path: &str, more: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: speech.example:8443\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    // To its end: every answer closes its connection.
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.replace("\r\n", "\n").to_lowercase(), body: body.to_owned() }
}

async fn get(server: &Server, path: &str) -> Answer {
    ask(server, "GET", path, "").await
}

/// What stands between two texts, wherever it does.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

/// The files that a file names.
fn named(path: &str, text: &str) -> BTreeSet<String> {
    let mut names = Vec::new();
    if path == "/" {
        for attribute in [" src=\"", " href=\""] {
            names.extend(between(text, attribute, "\"").into_iter().filter(|name| !name.starts_with('#')));
        }
    } else {
        names.extend(between(text, "from \"./", "\""));
        names.extend(between(text, "new URL(\"", "\"").into_iter().filter(|name| *name != "./"));
    }
    names.into_iter().map(|name| format!("/{name}")).collect()
}

#[tokio::test]
async fn all_that_the_page_names_is_there_and_of_its_type() {
    let server = Server::start(Setup::default()).await;
    let (mut seen, mut open) = (BTreeSet::new(), vec!["/".to_owned()]);
    while let Some(path) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = get(&server, &path).await;
        assert_eq!(answer.status, 200, "{path}");
        let kind = match path.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        open.extend(named(&path, &answer.body));
    }
    assert!(seen.contains("/worklet.js") && seen.contains("/kab.js"), "{seen:?}");
    // Nothing lies there that nobody asks for.
    let files = std::fs::read_dir(root("src/page")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let expected: BTreeSet<String> =
        files.map(|name| if name == "index.html" { "/".into() } else { format!("/{name}") }).collect();
    assert_eq!(seen, expected);
}

#[test]
fn the_page_knows_no_other_host() {
    for file in std::fs::read_dir(root("src/page")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 400, "{}: {lines} lines", path.display());
        for (number, line) in text.lines().enumerate() {
            // The name of SVG is no address, and a comment loads nothing.
            let code = line.replace("http://www.w3.org/2000/svg", "");
            let is_comment = code.trim_start().starts_with("//");
            let found =
                ["http:/", "https:/", "ws:/", "wss:/", "\"//", "url(", "eval(", " style=", "innerHTML"];
            let found = found.iter().find(|found| !is_comment && code.contains(**found));
            assert_eq!(found, None, "{}:{}", path.display(), number + 1);
        }
    }
}

#[tokio::test]
async fn the_policy_lets_in_nothing_else() {
    let server = Server::start(Setup::default()).await;
    let answer = get(&server, "/?language=kab").await;
    let policy = answer.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self' ws://speech.example:8443 wss://speech.example:8443",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.split("; ").any(|one| one == part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert!(answer.header("permissions-policy").contains("microphone=(self)"));
    assert_eq!(answer.header("connection"), "close");
}

#[tokio::test]
async fn a_browser_that_has_a_file_gets_no_second_copy() {
    let server = Server::start(Setup::default()).await;
    let first = get(&server, "/main.js").await;
    let etag = first.header("etag").to_owned();
    let again = ask(&server, "GET", "/main.js", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("etag"), etag);
    let other = ask(&server, "GET", "/main.js", "If-None-Match: \"other\"\r\n").await;
    assert_eq!((other.status, other.body.len()), (200, first.body.len()));
    let head = ask(&server, "HEAD", "/main.js", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), first.body.len().to_string());
}

#[tokio::test]
async fn other_paths_and_methods_get_a_word() {
    let server = Server::start(Setup::default()).await;
    for path in ["/nothing", "/index.html/", "/../Cargo.toml", "//", "/main.js/"] {
        let answer = get(&server, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("speech-to-text"), "{}", answer.body);
        assert_eq!(answer.header("connection"), "close");
    }
    assert_eq!(ask(&server, "POST", "/", "Content-Length: 0\r\n").await.status, 405);
    assert_eq!(ask(&server, "GET", "/", "Connection: Upgrade\r\nUpgrade: websocket\r\n").await.status, 400);
}

#[tokio::test]
async fn the_files_of_the_page_are_doors_too() {
    let server = Server::start(Setup::default()).await;
    for path in ["/", "/main.js", "/icon.svg"] {
        let mut client = super::Client::connect(&format!("ws://{}{path}", server.address)).await;
        assert_eq!(client.state().await, "ready", "{path}");
    }
}

#[tokio::test]
async fn a_full_house_has_no_page() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = Server::start(Setup { limits, ..Setup::default() }).await;
    let _only = server.client().await;
    let answer = get(&server, "/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("OVERLOADED"), "{}", answer.body);
}
