//! Where a key may stand in the head of a request.

use axum::http::{HeaderMap, header};

/// What a subprotocol that is a key begins with.
const KEY_PROTOCOL: &str = "imesli.key.";

/// The key of `Authorization: Bearer KEY`.
pub(in crate::serve) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The key among WebSocket subprotocols, the only thing that a browser lets a page say there:
/// `Sec-WebSocket-Protocol: imesli, imesli.key.KEY`.
pub(in crate::serve) fn subprotocol(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let mut names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.find_map(|name| name.strip_prefix(KEY_PROTOCOL)).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn head(name: header::HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_bearer_is_found_in_any_case() {
        for (value, key) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER   abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(&head(header::AUTHORIZATION, &[value])), key, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn a_key_is_found_among_subprotocols() {
        let name = header::SEC_WEBSOCKET_PROTOCOL;
        for (values, key) in [
            (&["imesli, imesli.key.abc"][..], Some("abc")),
            (&["imesli.key.abc,imesli"], Some("abc")),
            (&["imesli", "imesli.key.abc"], Some("abc")),
            (&["imesli"], None),
            (&["imesli, imesli.key."], None),
            (&[], None),
        ] {
            assert_eq!(subprotocol(&head(name.clone(), values)), key, "{values:?}");
        }
    }
}
