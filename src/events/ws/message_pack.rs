//! JSON values in MessagePack and back. Sans-IO. <https://github.com/msgpack/msgpack/blob/master/spec.md>
//!
//! What comes in is a client's: nothing is allocated for a length that is only announced, and depth is bounded. Binary
//! data, extensions and keys that are no strings have no JSON and are refused.

use serde_json::{Map, Number, Value};

/// How deep values may lie in each other.
const DEPTH_MAX: usize = 32;

/// The value in MessagePack, every part in its shortest form.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(flag) => out.push(0xc2 | u8::from(*flag)),
        Value::Number(number) => put_number(out, number),
        Value::String(text) => {
            put_length(out, text.len(), (0xa0, 32), [Some(0xd9), Some(0xda), Some(0xdb)]);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            put_length(out, items.len(), (0x90, 16), [None, Some(0xdc), Some(0xdd)]);
            items.iter().for_each(|item| put(out, item));
        }
        Value::Object(fields) => {
            put_length(out, fields.len(), (0x80, 16), [None, Some(0xde), Some(0xdf)]);
            for (name, value) in fields {
                put_length(out, name.len(), (0xa0, 32), [Some(0xd9), Some(0xda), Some(0xdb)]);
                out.extend_from_slice(name.as_bytes());
                put(out, value);
            }
        }
    }
}

/// A length: in the marker itself below a limit, else in one, two or four bytes after theirs.
fn put_length(out: &mut Vec<u8>, length: usize, (fix, below): (u8, usize), [one, two, four]: [Option<u8>; 3]) {
    match (one, two, four) {
        _ if length < below => out.push(fix | length as u8),
        (Some(marker), ..) if length <= 0xff => out.extend([marker, length as u8]),
        (_, Some(marker), _) if length <= 0xffff => {
            out.push(marker);
            out.extend((length as u16).to_be_bytes());
        }
        (.., Some(marker)) => {
            out.push(marker);
            out.extend((length as u32).to_be_bytes());
        }
        _ => {}
    }
}

fn put_number(out: &mut Vec<u8>, number: &Number) {
    match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number @ 0..=0x7f), ..) => out.push(number as u8),
        (Some(number), ..) => put_wide(out, 0xcc, number, number.ilog2() / 8),
        (_, Some(number @ -32..), _) => out.push(number as u8),
        // One bit more for the sign.
        (_, Some(number), _) => put_wide(out, 0xd0, number as u64, (64 - (!number).leading_zeros()) / 8),
        (.., number) => {
            out.push(0xcb);
            out.extend(number.unwrap_or_default().to_be_bytes());
        }
    }
}

/// A number in 1, 2, 4 or 8 bytes, of which it needs the one numbered `highest`.
fn put_wide(out: &mut Vec<u8>, marker: u8, number: u64, highest: u32) {
    let (power, len) = match highest {
        0 => (0, 1),
        1 => (1, 2),
        2 | 3 => (2, 4),
        _ => (3, 8),
    };
    out.push(marker + power);
    out.extend_from_slice(&number.to_be_bytes()[8 - len..]);
}

/// The value of a whole message; `None` for what is no MessagePack, or has no JSON.
pub(super) fn decode(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(DEPTH_MAX)?;
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let marker = self.number(1)? as u8;
        Some(match marker {
            0x00..=0x7f => marker.into(),
            0xe0..=0xff => (marker as i8).into(),
            0xc0 => Value::Null,
            0xc2 | 0xc3 => Value::Bool(marker == 0xc3),
            0xa0..=0xbf => Value::String(self.text(usize::from(marker & 0x1f))?),
            0xd9..=0xdb => {
                let len = self.length(1 << (marker - 0xd9))?;
                Value::String(self.text(len)?)
            }
            0x90..=0x9f => self.array(usize::from(marker & 0x0f), depth)?,
            0xdc | 0xdd => {
                let len = self.length(2 << (marker - 0xdc))?;
                self.array(len, depth)?
            }
            0x80..=0x8f => self.map(usize::from(marker & 0x0f), depth)?,
            0xde | 0xdf => {
                let len = self.length(2 << (marker - 0xde))?;
                self.map(len, depth)?
            }
            0xcc..=0xcf => self.number(1 << (marker - 0xcc))?.into(),
            0xd0 => (self.number(1)? as i8).into(),
            0xd1 => (self.number(2)? as i16).into(),
            0xd2 => (self.number(4)? as i32).into(),
            0xd3 => (self.number(8)? as i64).into(),
            // JSON has neither infinities nor NaN.
            0xca => Number::from_f64(f64::from(f32::from_bits(self.number(4)? as u32)))?.into(),
            0xcb => Number::from_f64(f64::from_bits(self.number(8)?))?.into(),
            _ => return None,
        })
    }

    /// An unsigned number in so many bytes.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> Option<usize> {
        usize::try_from(self.number(bytes)?).ok()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn text(&mut self, len: usize) -> Option<String> {
        std::str::from_utf8(self.take(len)?).ok().map(str::to_owned)
    }

    fn array(&mut self, len: usize, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(self.value(depth)?);
        }
        Some(Value::Array(items))
    }

    fn map(&mut self, len: usize, depth: usize) -> Option<Value> {
        let mut fields = Map::new();
        for _ in 0..len {
            let Value::String(name) = self.value(1)? else { return None };
            fields.insert(name, self.value(depth)?);
        }
        Some(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_the_specification_says() {
        let table: [(Value, &[u8]); 16] = [
            (json!(null), b"\xc0"),
            (json!(true), b"\xc3"),
            (json!(127), b"\x7f"),
            (json!(128), b"\xcc\x80"),
            (json!(256), b"\xcd\x01\x00"),
            (json!(65536), b"\xce\x00\x01\x00\x00"),
            (json!(4_294_967_296_u64), b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
            (json!(-1), b"\xff"),
            (json!(-33), b"\xd0\xdf"),
            (json!(-128), b"\xd0\x80"),
            (json!(-129), b"\xd1\xff\x7f"),
            (json!(-32769), b"\xd2\xff\xff\x7f\xff"),
            (json!(-2_147_483_649_i64), b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
            (json!(1.5), b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"),
            (json!("ab"), b"\xa2ab"),
            (json!({"a": [1, {}]}), b"\x81\xa1a\x92\x01\x80"),
        ];
        for (value, bytes) in table {
            assert_eq!(encode(&value), bytes, "{value}");
            assert_eq!(decode(bytes), Some(value));
        }
    }

    #[test]
    fn long_things_take_the_longer_markers() {
        for len in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let text = json!("x".repeat(len));
            let list = Value::Array(vec![json!(0); len]);
            let map: Map<String, Value> = (0..len.min(300)).map(|i| (i.to_string(), json!(i))).collect();
            for value in [text, list, Value::Object(map)] {
                let bytes = encode(&value);
                assert_eq!(decode(&bytes).as_ref(), Some(&value), "{len}");
                assert_eq!(rmp_serde::from_slice::<Value>(&bytes).unwrap(), value, "{len}: another reader");
            }
        }
    }

    #[test]
    fn what_has_no_json_or_lies_too_deep_is_refused() {
        let deep = [vec![0x91; 100], vec![0xc0]].concat();
        let bad: [&[u8]; 9] = [
            b"",
            b"\xc1",
            b"\xc4\x01x",
            b"\xd4\x00\x00",
            b"\x81\x01\x02",
            b"\xa2a",
            b"\xc0\xc0",
            b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
            &deep,
        ];
        for bytes in bad {
            assert_eq!(decode(bytes), None, "{bytes:x?}");
        }
        // A length of four gigabytes that is only announced.
        for announced in [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"] {
            assert_eq!(decode(announced), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_what_is_read_is_written_alike(bytes: Vec<u8>) {
            if let Some(value) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&value)), Some(value));
            }
        }
    }
}
