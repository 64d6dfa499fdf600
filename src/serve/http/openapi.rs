//! The description of the API, for programs. It is written by hand; the tests hold it to what is served.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// As it is served: the version is the program's.
static DESCRIPTION: LazyLock<String> =
    LazyLock::new(|| include_str!("openapi.json").replacen("$VERSION", env!("CARGO_PKG_VERSION"), 1));

/// `GET /openapi.json`
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test may fail by panicking.
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::{keyed, open};
    use super::*;

    fn description() -> Value {
        serde_json::from_str(&DESCRIPTION).unwrap()
    }

    #[test]
    fn all_paths_are_described_and_no_others() {
        let description = description();
        let described: BTreeSet<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
        let rows = keyed().into_iter().chain(open());
        let served: BTreeSet<String> = rows.map(|(path, _)| path.replace("{*", "{")).collect();
        assert_eq!(described, served);
        assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn what_takes_a_key_says_so() {
        let description = description();
        let keyed: BTreeSet<String> = keyed().iter().map(|(path, _)| path.replace("{*", "{")).collect();
        for (path, operations) in description["paths"].as_object().unwrap() {
            for operation in operations.as_object().unwrap().values() {
                let wants = operation["responses"].get("401").is_some();
                assert_eq!(wants, keyed.contains(path) || path == "/metrics", "{path}");
                assert_eq!(wants, operation.get("security").is_some(), "{path}");
            }
        }
    }

    #[test]
    fn all_that_is_referred_to_is_there() {
        let description = description();
        let mut open = vec![&description];
        let mut count = 0;
        while let Some(value) = open.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        let pointer = to.strip_prefix('#').unwrap();
                        assert!(description.pointer(pointer).is_some(), "{to}");
                        count += 1;
                    }
                    open.extend(fields.values());
                }
                Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        assert!(count > 10);
    }
}
