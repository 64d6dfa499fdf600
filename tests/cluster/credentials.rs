//! A file of credentials: a user's token (JWT) that an account has signed, and the seed that goes with it, as `nsc` and
//! `nats` write them (<https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt>).

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::Cluster;
use super::secure::{neither, work};

/// A token about somebody, signed by who answers for them.
fn token(name: &str, about: &KeyPair, by: &KeyPair, nats: Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = json!({
        "jti": name, "iat": 1_700_000_000, "iss": by.public_key(), "sub": about.public_key(), "name": name, "nats": nats,
    });
    let signed = format!("{head}.{}", part(claims));
    let signature = URL_SAFE_NO_PAD.encode(by.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// An account without limits, or one for the broker's own use, which has no streams.
fn account(streams: bool) -> Value {
    let all = if streams { -1 } else { 0 };
    json!({
        "type": "account", "version": 2, "default_permissions": { "pub": {}, "sub": {} },
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": all, "disk_storage": all, "streams": all, "consumer": all,
        },
    })
}

fn user() -> Value {
    json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {} })
}

/// The text of a file of credentials.
fn credentials(token: &str, user: &KeyPair) -> String {
    let mut text = format!("-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n");
    let seed = user.seed().unwrap();
    write!(text, "-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n").unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_an_account_has_signed_let_their_users_in() {
    let (operator, ours, system) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
    let more = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n{}: {}\n{}: {}\n}}",
        token("operator", &operator, &operator, json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        ours.public_key(),
        token("ours", &ours, &operator, account(true)),
        system.public_key(),
        token("system", &system, &operator, account(false)),
    );
    let Some(cluster) = Cluster::with(&more).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (known, stranger) = (KeyPair::new_user(), KeyPair::new_account());
    let good = credentials(&token("known", &known, &ours, user()), &known);
    std::fs::write(path("good.creds"), good).unwrap();
    // An account that nobody knows has signed it.
    let bad = credentials(&token("known", &known, &stranger, user()), &known);
    std::fs::write(path("bad.creds"), bad).unwrap();
    std::fs::write(path("broken.creds"), "-----BEGIN NATS USER JWT-----\n").unwrap();
    let url = cluster.broker.url();
    work(&url, &["--nats-creds", &path("good.creds")]).await;
    for wrong in ["bad.creds", "broken.creds", "nothing.creds"] {
        neither(&url, &["--nats-creds", &path(wrong)]).await;
    }
}
