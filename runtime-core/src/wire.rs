//! The wire format of protocol buffers, as far as the messages of containerd's shim and of CRIU need it.
//!
//! A generated crate brings descriptors, reflection and a registry with each message; here a message is a structure, its
//! fields know how to read and write themselves, and nothing else is in memory.  See [`message!`](crate::message).

use std::fmt;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// They end within a field.
    Truncated,
    /// A number of more than 64 bits.
    Overlong,
    /// A field number of 0, or a wire type that proto3 does not have.
    BadTag,
    /// A field of another type than its number has.
    WrongType,
    /// A string that is not UTF-8.
    NotUtf8,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends within a field",
            Self::Overlong => "a number is longer than 64 bits",
            Self::BadTag => "a field has no valid tag",
            Self::WrongType => "a field has another type than its number",
            Self::NotUtf8 => "a string is not UTF-8",
        })
    }
}

impl std::error::Error for WireError {}

/// What a field holds before its type is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: strings, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads fields off a message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of the whole of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    /// A number in base 128, the low digits first.
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(WireError::Truncated)?;
            self.rest = rest;
            let digit = u64::from(byte & 0x7f);
            if shift == 63 && digit > 1 {
                return Err(WireError::Overlong);
            }
            value |= digit << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Overlong)
    }

    /// The next field, or `None` at the end.
    ///
    /// # Errors
    /// The bytes are no message.
    pub fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::BadTag)?;
        if number == 0 {
            return Err(WireError::BadTag);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(array(self.take(8)?)?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(array(self.take(4)?)?)),
            _ => return Err(WireError::BadTag),
        };
        Ok(Some((number, value)))
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Truncated)
}

/// Appends a number in base 128.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u64) {
    put_varint(out, u64::from(number) << 3 | wire_type);
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A type that a field of a message can have.
pub trait Field {
    /// Takes a value off the wire; of several, the last one counts, and lists grow.
    ///
    /// # Errors
    /// The value is of another type.
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError>;
    /// Appends itself; what has its default value is left out, as proto3 has it.
    fn put(&self, number: u32, out: &mut Vec<u8>);
}

/// A message: see [`message!`](crate::message).
pub trait Message: Default {
    /// Takes what `bytes` hold on top of what is there.
    ///
    /// # Errors
    /// The bytes are no such message.
    fn merge_from(&mut self, bytes: &[u8]) -> Result<(), WireError>;
    /// Appends all fields.
    fn put_fields(&self, out: &mut Vec<u8>);

    /// The message in `bytes`.  Fields it does not know are passed over.
    ///
    /// # Errors
    /// The bytes are no such message.
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut message = Self::default();
        message.merge_from(bytes)?;
        Ok(message)
    }

    /// The message as bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put_fields(&mut out);
        out
    }
}

impl Field for u64 {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let Value::Varint(number) = value else { return Err(WireError::WrongType) };
        *self = number;
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if *self != 0 {
            put_tag(out, number, 0);
            put_varint(out, *self);
        }
    }
}

impl Field for i64 {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let mut bits = 0_u64;
        bits.merge(value)?;
        *self = bits.cast_signed();
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        self.cast_unsigned().put(number, out);
    }
}

impl Field for u32 {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let mut bits = 0_u64;
        bits.merge(value)?;
        // Upper bits are cut off, as every implementation of the format does.
        let [a, b, c, d, ..] = bits.to_le_bytes();
        *self = Self::from_le_bytes([a, b, c, d]);
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
}

impl Field for i32 {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let mut bits = 0_u32;
        bits.merge(value)?;
        *self = bits.cast_signed();
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        i64::from(*self).put(number, out);
    }
}

impl Field for bool {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let mut bits = 0_u64;
        bits.merge(value)?;
        *self = bits != 0;
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        u64::from(*self).put(number, out);
    }
}

impl Field for f64 {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let Value::Fixed64(bits) = value else { return Err(WireError::WrongType) };
        *self = Self::from_bits(bits);
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if self.to_bits() != 0 {
            put_tag(out, number, 1);
            out.extend_from_slice(&self.to_bits().to_le_bytes());
        }
    }
}

impl Field for String {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let Value::Bytes(bytes) = value else { return Err(WireError::WrongType) };
        std::str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)?.clone_into(self);
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_bytes(out, number, self.as_bytes());
        }
    }
}

impl Field for Vec<u8> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let Value::Bytes(bytes) = value else { return Err(WireError::WrongType) };
        bytes.clone_into(self);
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_bytes(out, number, self);
        }
    }
}

impl Field for Vec<String> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let mut text = String::new();
        text.merge(value)?;
        self.push(text);
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        self.iter().for_each(|text| put_bytes(out, number, text.as_bytes()));
    }
}

/// Packed, as proto3 writes lists of numbers; read in both forms.
impl Field for Vec<u64> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        match value {
            Value::Varint(number) => self.push(number),
            Value::Bytes(bytes) => {
                let mut reader = Reader::new(bytes);
                while !reader.rest.is_empty() {
                    self.push(reader.varint()?);
                }
            }
            _ => return Err(WireError::WrongType),
        }
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        let mut packed = Vec::new();
        self.iter().for_each(|value| put_varint(&mut packed, *value));
        packed.put(number, out);
    }
}

impl<T: Message> Field for Vec<T> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let Value::Bytes(bytes) = value else { return Err(WireError::WrongType) };
        self.push(T::decode(bytes)?);
        Ok(())
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        self.iter().for_each(|message| put_bytes(out, number, &message.encode()));
    }
}

impl<T: Message> Field for Option<T> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        let Value::Bytes(bytes) = value else { return Err(WireError::WrongType) };
        self.get_or_insert_default().merge_from(bytes)
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(message) = self {
            put_bytes(out, number, &message.encode());
        }
    }
}

/// A number of proto2, which is written whenever it is set.
impl Field for Option<i32> {
    fn merge(&mut self, value: Value<'_>) -> Result<(), WireError> {
        self.get_or_insert_default().merge(value)
    }

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            put_tag(out, number, 0);
            put_varint(out, i64::from(*value).cast_unsigned());
        }
    }
}

/// Declares messages: the fields by their numbers, with Rust types.
///
/// A list is a `Vec`, a message within another an `Option`, a map a list of messages with a key and a value.  A number whose zero must
/// be told from its absence (`required` and `optional` of proto2) is an `Option` too.
#[macro_export]
macro_rules! message {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ty = $number:literal),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[allow(missing_docs)]
        pub struct $name { $($(#[$field_meta])* pub $field: $kind),* }

        impl $crate::wire::Message for $name {
            #[allow(unused_variables, clippy::match_same_arms)]
            fn merge_from(&mut self, bytes: &[u8]) -> Result<(), $crate::wire::WireError> {
                let mut reader = $crate::wire::Reader::new(bytes);
                while let Some((number, value)) = reader.field()? {
                    match number {
                        $($number => $crate::wire::Field::merge(&mut self.$field, value)?,)*
                        _ => {}
                    }
                }
                Ok(())
            }

            #[allow(unused_variables)]
            fn put_fields(&self, out: &mut Vec<u8>) {
                $($crate::wire::Field::put(&self.$field, $number, out);)*
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::message! {
        Inner { text: String = 1 }
        Sample {
            number: u32 = 1, big: u64 = 2, negative: i32 = 3, flag: bool = 4, text: String = 5, raw: Vec<u8> = 6,
            inner: Option<Inner> = 7, list: Vec<Inner> = 8, packed: Vec<u64> = 9, words: Vec<String> = 16, float: f64 = 17,
            set: Option<i32> = 18
        }
    }

    fn sample() -> Sample {
        Sample {
            number: 300,
            big: u64::MAX,
            negative: -2,
            flag: true,
            text: "ä".into(),
            raw: vec![0, 255],
            inner: Some(Inner::default()),
            list: vec![Inner { text: "a".into() }, Inner::default()],
            packed: vec![0, 1, 128],
            words: vec![String::new(), "b".into()],
            float: 0.5,
            set: Some(0),
        }
    }

    #[test]
    fn a_message_survives_the_wire() {
        assert_eq!(Sample::decode(&sample().encode()), Ok(sample()));
        assert_eq!(Sample::default().encode(), b"", "defaults are left out");
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        // The example of the encoding page of protobuf.dev: field 1, 150.
        assert_eq!(Sample { number: 150, ..Sample::default() }.encode(), [0x08, 0x96, 0x01]);
        assert_eq!(Sample { text: "testing".into(), ..Sample::default() }.encode(), b"\x2a\x07testing");
        // A negative number of 32 bits has ten digits.
        assert_eq!(Sample { negative: -2, ..Sample::default() }.encode().len(), 11);
        // Of proto2, a zero that is set.
        assert_eq!(Sample { set: Some(0), ..Sample::default() }.encode(), [0x90, 0x01, 0x00]);
    }

    #[test]
    fn a_message_cut_short_is_an_error_or_a_shorter_message() {
        let whole = sample().encode();
        for length in 0..whole.len() {
            let cut = Sample::decode(&whole[..length]);
            assert!(
                cut.as_ref().is_ok_and(|m| m.encode().len() <= length) || cut == Err(WireError::Truncated)
            );
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, error) in [
            (&[0x00, 0x00][..], WireError::BadTag),
            (&[0x0b], WireError::BadTag),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], WireError::Overlong),
            (&[0x0a, 0x01, b'x'], WireError::WrongType),
            (&[0x2a, 0x01, 0xff], WireError::NotUtf8),
            (&[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], WireError::Truncated),
        ] {
            assert_eq!(Sample::decode(bytes), Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let bytes = [&[0x98, 0x06, 0x01][..], &[0xa2, 0x06, 0x01, b'x'], &[0x08, 0x05]].concat();
        assert_eq!(Sample::decode(&bytes), Ok(Sample { number: 5, ..Sample::default() }));
    }
}
