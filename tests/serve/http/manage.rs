//! Models, health, metrics, the description, and request ids.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};

use serde_json::{Value, json};

use super::{Http, SAID, Server, Setup, TRANSCRIPTIONS, form, form_type, get, post, recorded, request};

#[tokio::test]
async fn there_is_one_model() {
    let server = Server::start(Setup::default()).await;
    let list = get(&server, "/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let [model] = list["data"].as_array().unwrap().as_slice() else { panic!("{list}") };
    assert_eq!((&model["object"], &model["owned_by"]), (&json!("model"), &json!("imesli")));
    assert!(model["created"].as_u64().unwrap() > 1_700_000_000);
    let id = model["id"].as_str().unwrap();
    assert!(!id.is_empty() && !id.starts_with('/'), "{id}");
    assert_eq!(get(&server, &format!("/v1/models/{id}")).await.json(), *model);
    for other in ["whisper-1", "a/b", "%ff", "..%2f"] {
        let (code, param) = get(&server, &format!("/v1/models/{other}")).await.error(404);
        assert_eq!((code.as_str(), param.as_deref()), ("model_not_found", Some("model")), "{other}");
    }
}

#[tokio::test]
async fn it_is_well_and_ready() {
    let mut server = Server::start(Setup::default()).await;
    assert_eq!(get(&server, "/health").await.json(), json!({ "status": "ok" }));
    assert_eq!(get(&server, "/ready").await.json(), json!({ "status": "ready" }));
    let mut http = Http::connect(&server).await;
    assert_eq!(http.ask("HEAD", "/ready", &[], b"").await.status, 200);
    server.stop();
    (&mut server.done).await.unwrap();
}

#[tokio::test]
async fn metrics_are_text() {
    let server = Server::start(Setup::default()).await;
    post(&server, TRANSCRIPTIONS, &[]).await;
    let answer = get(&server, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text().contains("# TYPE imesli_"), "{}", answer.text());
}

#[tokio::test]
async fn every_described_operation_is_there() {
    let server = Server::start(Setup::default()).await;
    let description = get(&server, "/openapi.json").await.json();
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let path = path.replace("{model}", "x");
            let mut http = Http::connect(&server).await;
            let answer = http.ask(&method.to_uppercase(), &path, &[], b"").await;
            assert_ne!(answer.status, 405, "{method} {path}");
            let status = answer.status.to_string();
            assert!(
                operation["responses"].get(&status).is_some(),
                "{method} {path}: {status} is not described"
            );
            if answer.status == 404 {
                assert_eq!(answer.error(404).0, "model_not_found", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_has_an_id() {
    let server = Server::start(Setup::default()).await;
    let mut http = Http::connect(&server).await;
    let mut seen = BTreeSet::new();
    for path in ["/health", "/v1/models", "/v1/nothing", TRANSCRIPTIONS] {
        seen.insert(http.ask("GET", path, &[], b"").await.header("x-request-id").to_owned());
    }
    assert_eq!(seen.len(), 4);
    let own = [("X-Request-Id", "my-id_1.2"), ("Content-Type", &form_type())];
    let answer = http.ask("POST", TRANSCRIPTIONS, &own, &form(&[], &recorded(0))).await;
    assert_eq!(answer.header("x-request-id"), "my-id_1.2");
    for strange in ["a b", "x\u{e9}", &"a".repeat(65)] {
        let answer = http.ask("GET", "/health", &[("X-Request-Id", strange)], b"").await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{strange}");
    }
}

#[tokio::test]
async fn nobody_may_reload_where_there_are_no_keys() {
    let server = Server::start(Setup::default()).await;
    let answer = Http::connect(&server).await.ask("POST", "/admin/reload", &[], b"").await;
    assert_eq!(answer.error(403).0, "forbidden");
    let authorized = [("Authorization", "Bearer anything")];
    let answer = Http::connect(&server).await.ask("POST", "/admin/reload", &authorized, b"").await;
    assert_eq!(answer.error(403).0, "forbidden");
    // Any key will do where none is wanted: OpenAI's clients can't do without.
    let answer = Http::connect(&server).await.ask("GET", "/v1/models", &authorized, b"").await;
    assert_ne!(answer.json()["data"], Value::Null);
}

#[test]
fn the_log_has_the_id_of_each_request_and_nothing_that_was_said() {
    let mut child = super::super::program::imesli(&["--port", "0"]).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut until = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "no {wanted:?} in the log");
        }
        line
    };
    let line = until("listening on");
    let address = line.trim().split("listening on ws://").nth(1).unwrap();
    let headers = [
        ("X-Request-Id", "id-of-this-one"),
        ("Authorization", "Bearer secret-key"),
        ("Content-Type", &form_type()),
        ("Connection", "close"),
    ];
    let path = format!("{TRANSCRIPTIONS}?key=secret-key");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream
        .write_all(&request("POST", &path, &headers, &form(&[("prompt", "secret-prompt")], &recorded(0))))
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(SAID[0].1), "{answer}");
    let lines = [until("id-of-this-one"), until("answered")];
    child.kill().unwrap();
    child.wait().unwrap();
    for (line, parts) in lines.iter().zip([["transcribed", "seconds="], ["answered", "status=200"]]) {
        for part in ["id-of-this-one", "POST", TRANSCRIPTIONS].into_iter().chain(parts) {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("secret") && !line.contains("seven"), "{line}");
    }
}
