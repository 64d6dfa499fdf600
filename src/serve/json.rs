//! JSON from clients, as a value whose size is in proportion to its text.
//!
//! A number of one digit takes two bytes of a message, with its comma, and sixteen times that in memory. So what is read has
//! a bound in values besides the message's own bound in bytes.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Values in one message: fields, elements, and the objects and arrays that hold them. A message has a dozen or two.
const MAX_VALUES: usize = 10_000;

/// Reads JSON of at most [`MAX_VALUES`] values.
pub(super) fn read(text: &str) -> serde_json::Result<Value> {
    let left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Bounded(&left).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// How many values may still come.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| D::Error::custom("too many values in one message"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(value) = elements.next_element_seed(self)? {
            array.push(value);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key()? {
            map.insert(name, fields.next_value_seed(self)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    #[test]
    fn what_serde_reads_is_read_the_same() {
        for text in [
            "null",
            "[true, -1, 18446744073709551615, 1.5, \"\\u00e9\\n\", {\"a\": {\"b\": []}, \"a\": 2}]",
            "\"x\"",
            " 7 ",
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for wrong in ["", "{", "[1,]", "7 8", "nul", "{1: 2}", "\"\\ud800\"", &"[".repeat(200)] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_flood_of_values_is_refused() {
        let numbers = |n: usize| format!("[{}0]", "0,".repeat(n - 1));
        assert!(read(&numbers(MAX_VALUES - 1)).is_ok());
        assert!(read(&numbers(MAX_VALUES)).unwrap_err().to_string().contains("too many values"));
        let fields: String = (0..MAX_VALUES).map(|i| format!("\"{i}\":{{}},")).collect();
        assert!(read(&format!("{{{fields}\"type\":\"ping\"}}")).is_err());
    }
}
