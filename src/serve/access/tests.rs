#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.

use std::fmt::Write as _;

use super::*;

const HERE: AccessOptions = AccessOptions {
    key_file: None,
    allow_anonymous: false,
    origins: Vec::new(),
    proxies: Vec::new(),
    loopback: true,
};

/// The row of a key.
fn row(name: &str, key: &str, more: &str) -> String {
    let mut row = format!("[keys.{name}]\nhash = \"sha256:");
    for byte in Sha256::digest(key) {
        write!(row, "{byte:02x}").unwrap();
    }
    row + "\"\n" + more + "\n"
}

/// Access by these rows.
fn keyed(rows: &str) -> (tempfile::NamedTempFile, Access) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    let options = AccessOptions { key_file: Some(file.path().to_owned()), ..AccessOptions::default() };
    let access = Access::new(options).unwrap();
    (file, access)
}

fn code<T: std::fmt::Debug>(result: Result<T, Failure>) -> Option<Code> {
    result.err().map(|failure| failure.code)
}

fn head(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
}

const PEER: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn other_machines_are_let_in_when_somebody_says_so() {
    let elsewhere = AccessOptions::default();
    let error = Access::new(elsewhere.clone()).unwrap_err().to_string();
    for way in ["--key-file", "--allow-anonymous", "--host 127.0.0.1"] {
        assert!(error.contains(way), "{error}");
    }
    assert_eq!(error.lines().count(), 1);
    assert!(Access::new(AccessOptions { allow_anonymous: true, ..elsewhere }).is_ok());
    assert!(Access::new(HERE).is_ok());
}

#[test]
fn keys_are_known_by_their_text_alone() {
    let (_file, access) = keyed(&(row("first", "one", "") + &row("last", "two", "admin = true")));
    for (token, name) in [("one", Some("first")), ("two", Some("last")), ("", None), ("One", None)] {
        let key = access.authenticate(token);
        assert_eq!(key.as_ref().map(|key| key.name()), name, "{token}");
    }
    // Nor by their hash.
    let hash = Sha256::digest("one").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(access.authenticate(&hash).is_none());
    assert!(access.authenticate(&format!("sha256:{hash}")).is_none());
    assert!(access.authenticate("two").unwrap().is_admin());
    assert!(!access.authenticate("one").unwrap().is_admin());
}

#[test]
fn secrets_are_not_shown() {
    let (_file, access) = keyed(&row("a", "secret", ""));
    let shown = format!("{access:?}");
    assert!(shown.contains("Key(\"a\")"), "{shown}");
    assert!(!shown.contains(&format!("{:?}", Sha256::digest("secret"))[..20]), "{shown}");
}

#[test]
fn keys_come_and_go_and_what_is_used_stays_used() {
    let day = "audio_minutes_per_day = 1\nconcurrent = 1";
    let rows = row("stays", "one", day) + &row("goes", "two", "") + &row("turns", "3", day);
    let (file, access) = keyed(&rows);
    let [stays, goes, turns] = ["one", "two", "3"].map(|token| access.authenticate(token).unwrap());
    stays.spend(40.0).unwrap();
    turns.spend(40.0).unwrap();
    let held = turns.begin().unwrap();
    std::fs::write(file.path(), row("stays", "one", day) + &row("turns", "4", day) + &row("new", "5", ""))
        .unwrap();
    access.reload().unwrap();
    assert!(access.authenticate("two").is_none() && access.authenticate("3").is_none());
    assert!(access.authenticate("5").is_some());
    assert_eq!(code(goes.begin()), Some(Code::Unauthorized));
    assert_eq!(code(goes.spend(1.0)), Some(Code::Unauthorized));
    assert!(goes.is_revoked() && turns.is_revoked() && !stays.is_revoked());
    assert!(stays.begin().is_ok());
    for token in ["one", "4"] {
        let key = access.authenticate(token).unwrap();
        assert_eq!(code(key.spend(40.0)), Some(Code::QuotaExceeded), "{token}");
        assert!(key.spend(20.0).is_ok());
    }
    let successor = access.authenticate("4").unwrap();
    assert_eq!(code(successor.begin()), Some(Code::QuotaExceeded));
    drop(held);
    assert!(successor.begin().is_ok());
}

#[test]
fn new_limits_hold_at_once() {
    let (file, access) = keyed(&row("a", "one", ""));
    let key = access.authenticate("one").unwrap();
    let _held = [key.begin().unwrap(), key.begin().unwrap()];
    std::fs::write(file.path(), row("a", "one", "concurrent = 2\nadmin = true")).unwrap();
    access.reload().unwrap();
    assert_eq!(code(key.begin()), Some(Code::QuotaExceeded));
    assert!(key.is_admin());
}

#[test]
fn a_broken_file_changes_nothing() {
    let (file, access) = keyed(&row("a", "one", ""));
    std::fs::write(file.path(), "[keys.a]\nhash = 7\n").unwrap();
    let error = access.reload().unwrap_err().to_string();
    assert!(error.contains(", line 2: "), "{error}");
    assert!(!access.has_changed(file.path()), "it is told once");
    assert!(access.authenticate("one").unwrap().begin().is_ok());
    std::fs::remove_file(file.path()).unwrap();
    assert!(access.has_changed(file.path()));
    assert!(access.reload().is_err());
    assert!(access.authenticate("one").is_some());
}

#[test]
fn a_request_shows_who_asks() {
    let (_file, access) = keyed(&row("a", "one", ""));
    let by = |fields: &[(header::HeaderName, &str)]| {
        let client = access.client(&head(fields), PEER)?;
        Ok::<_, Failure>(client.key.map(|key| key.name().to_owned()))
    };
    let named = Ok(Some("a".to_owned()));
    assert_eq!(by(&[(header::AUTHORIZATION, "Bearer one")]), named);
    assert_eq!(by(&[(header::SEC_WEBSOCKET_PROTOCOL, "imesli, imesli.key.one")]), named);
    assert_eq!(by(&[]), Ok(None));
    assert_eq!(by(&[(header::AUTHORIZATION, "Basic one")]), Ok(None));
    assert_eq!(by(&[(header::AUTHORIZATION, "Bearer two")]), Err(wrong_key()));
    // Where no key is wanted, none is wrong.
    let client = Access::new(HERE).unwrap().client(&head(&[(header::AUTHORIZATION, "Bearer x")]), PEER);
    assert!(client.unwrap().key.is_none());
}

/// What a page of this origin gets that asks at this host, without a key and with one.
fn asked(access: &Access, origin: &str, host: &str) -> [bool; 2] {
    let headers = head(&[(header::ORIGIN, origin), (header::HOST, host)]);
    [false, true].map(|has_key| match access.check_origin(&headers, has_key) {
        Ok(()) => true,
        Err(failure) => {
            assert_eq!(failure.code, Code::ForbiddenOrigin);
            false
        }
    })
}

#[test]
fn pages_are_let_in_by_their_origin() {
    let listed = vec!["https://app.example".parse().unwrap()];
    let here = Access::new(AccessOptions { origins: listed.clone(), ..HERE }).unwrap();
    let open = AccessOptions { allow_anonymous: true, loopback: false, origins: listed.clone(), ..HERE };
    let open = Access::new(open).unwrap();
    let tunnel = AccessOptions { allow_anonymous: true, origins: listed.clone(), ..HERE };
    let tunnel = Access::new(tunnel).unwrap();
    let (file, _) = keyed("");
    let options = AccessOptions { key_file: Some(file.path().to_owned()), origins: listed, ..HERE };
    let keyed_here = Access::new(options.clone()).unwrap();
    let keyed = Access::new(AccessOptions { loopback: false, ..options }).unwrap();
    let (no, yes, with_key) = ([false; 2], [true; 2], [false, true]);
    for (origin, host, wanted) in [
        // Its own page, where a loopback name means this machine and no other does.
        ("http://localhost:1", "localhost:1", [yes, yes, yes, yes, yes]),
        ("http://[::1]:1", "[::1]:1", [yes, yes, yes, yes, yes]),
        ("http://rebound.example:1", "rebound.example:1", [no, yes, yes, yes, yes]),
        ("https://tunnel.example", "tunnel.example", [no, yes, yes, yes, yes]),
        // Another server's page, also one on this machine.
        ("http://localhost:2", "localhost:1", [no, no, no, no, no]),
        ("https://evil.example", "localhost:1", [no, no, no, no, no]),
        ("https://app.example", "localhost:1", [yes, yes, yes, yes, yes]),
        ("http://app.example", "localhost:1", [no, no, no, no, no]),
        // From disk.
        ("null", "localhost:1", [yes, with_key, yes, yes, with_key]),
        ("*", "localhost:1", [no, no, no, no, no]),
        ("nonsense", "localhost:1", [no, no, no, no, no]),
    ] {
        for (access, wanted) in [&here, &open, &tunnel, &keyed_here, &keyed].into_iter().zip(wanted) {
            assert_eq!(asked(access, origin, host), wanted, "{origin} at {host}: {:?}", access.options);
        }
    }
    for access in [&here, &open, &tunnel, &keyed_here, &keyed] {
        assert_eq!(code(access.check_origin(&HeaderMap::new(), false)), None, "no browser");
        let mut two = head(&[(header::ORIGIN, "https://app.example")]);
        two.append(header::ORIGIN, HeaderValue::from_static("https://app.example"));
        assert_eq!(code(access.check_origin(&two, true)), Some(Code::ForbiddenOrigin));
        assert!(access.allows_cors(&HeaderValue::from_static("https://app.example")));
        assert!(!access.allows_cors(&HeaderValue::from_static("http://localhost:1")));
        assert!(!access.allows_cors(&HeaderValue::from_static("null")));
    }
}

#[test]
fn a_star_lets_all_pages_in() {
    let access = Access::new(AccessOptions { origins: vec!["*".parse().unwrap()], ..HERE }).unwrap();
    for origin in ["null", "https://evil.example", "http://localhost:7"] {
        assert_eq!(asked(&access, origin, "localhost:1"), [true; 2], "{origin}");
        assert!(access.allows_cors(&HeaderValue::from_str(origin).unwrap()));
    }
}

#[test]
fn groups_are_keys_else_addresses() {
    let (_file, access) = keyed(&row("a", "one", ""));
    let group = |peer: &str, key| Client { key, peer: peer.parse().unwrap() }.group();
    assert_eq!(group("10.0.0.1", access.authenticate("one")), "key:a");
    for (peer, wanted) in [
        ("10.0.0.1", "ip:10.0.0.1"),
        ("::ffff:10.0.0.1", "ip:10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "ip:2001:db8:1:2::/64"),
        ("::1", "ip:::/64"),
    ] {
        assert_eq!(group(peer, None), wanted, "{peer}");
    }
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart() {
    let group = |proxies: &[&str], forwarded: &str| {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        let access = Access::new(AccessOptions { proxies, ..HERE }).unwrap();
        let headers = head(&[(header::HeaderName::from_static("x-forwarded-for"), forwarded)]);
        access.client(&headers, "127.0.0.1".parse().unwrap()).unwrap().group()
    };
    assert_eq!(group(&["127.0.0.1"], "6.6.6.6, 1.2.3.4"), "ip:1.2.3.4");
    assert_eq!(group(&["127.0.0.1"], "2001:db8::1"), "ip:2001:db8::/64");
    assert_eq!(group(&[], "1.2.3.4"), "ip:127.0.0.1");
}
