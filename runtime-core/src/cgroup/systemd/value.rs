//! Values of D-Bus, and how they are laid out in a message.

use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`, with the signature of its elements, which there may be none of.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// A text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes (`ay`).
    pub(super) fn bytes(bytes: impl IntoIterator<Item = u8>) -> Self {
        Self::Array("y".to_owned(), bytes.into_iter().map(Self::Byte).collect())
    }

    /// Its type.
    #[must_use]
    pub fn signature(&self) -> String {
        match self {
            Self::Bool(_) => "b".to_owned(),
            Self::Byte(_) => "y".to_owned(),
            Self::I16(_) => "n".to_owned(),
            Self::U16(_) => "q".to_owned(),
            Self::I32(_) => "i".to_owned(),
            Self::U32(_) => "u".to_owned(),
            Self::I64(_) => "x".to_owned(),
            Self::U64(_) => "t".to_owned(),
            Self::F64(_) => "d".to_owned(),
            Self::Text(_) => "s".to_owned(),
            Self::Path(_) => "o".to_owned(),
            Self::Signature(_) => "g".to_owned(),
            Self::Array(of, _) => format!("a{of}"),
            Self::Struct(fields) => format!("({})", fields.iter().map(Self::signature).collect::<String>()),
            Self::Variant(_) => "v".to_owned(),
        }
    }
}

/// As text, in the form that annotations have it in.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Byte(n) => write!(f, "byte {n}"),
            Self::I16(n) => write!(f, "int16 {n}"),
            Self::U16(n) => write!(f, "uint16 {n}"),
            Self::I32(n) => write!(f, "{n}"),
            Self::U32(n) => write!(f, "uint32 {n}"),
            Self::I64(n) => write!(f, "int64 {n}"),
            Self::U64(n) => write!(f, "uint64 {n}"),
            Self::F64(n) => write!(f, "double {n}"),
            Self::Text(text) => quoted(f, text),
            Self::Path(text) => f.write_str("objectpath ").and_then(|()| quoted(f, text)),
            Self::Signature(text) => f.write_str("signature ").and_then(|()| quoted(f, text)),
            Self::Array(of, elements) if elements.is_empty() => write!(f, "@a{of} []"),
            Self::Array(_, elements) => listed(f, "[", elements, "]"),
            Self::Struct(fields) => listed(f, "(", fields, if fields.len() == 1 { ",)" } else { ")" }),
            Self::Variant(inner) => write!(f, "<{inner}>"),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for letter in text.chars() {
        match letter {
            '\\' | '\'' => write!(f, "\\{letter}")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}

fn listed(f: &mut fmt::Formatter<'_>, open: &str, values: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (at, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
    }
    f.write_str(close)
}

/// How a type is aligned.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Lays values out, little end first.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn pad(&mut self, to: usize) {
        while !self.bytes.len().is_multiple_of(to) {
            self.bytes.push(0);
        }
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.pad(4);
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    pub(super) fn signature(&mut self, signature: &str) {
        // Ours are short; what is too long the peer finds broken.
        self.bytes.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
    }

    pub(super) fn value(&mut self, value: &Value) {
        self.pad(alignment(&value.signature()));
        match value {
            Value::Bool(b) => self.u32(u32::from(*b)),
            Value::Byte(n) => self.bytes.push(*n),
            Value::I16(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            Value::U16(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            Value::I32(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            Value::U32(n) => self.u32(*n),
            Value::I64(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            Value::U64(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            Value::F64(n) => self.bytes.extend_from_slice(&n.to_le_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(signature) => self.signature(signature),
            Value::Array(of, elements) => self.array(of, elements),
            Value::Struct(fields) => fields.iter().for_each(|field| self.value(field)),
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }

    fn array(&mut self, of: &str, elements: &[Value]) {
        self.u32(0);
        let at = self.bytes.len() - 4;
        // What pads to the first element is not counted.
        self.pad(alignment(of));
        let start = self.bytes.len();
        elements.iter().for_each(|element| self.value(element));
        let size = length(self.bytes.len() - start);
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&size.to_le_bytes());
        }
    }
}

fn length(length: usize) -> u32 {
    // A message has at most 2^27 bytes, which is checked before it is sent.
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The deepest nesting that a message may have.
const DEEPEST: usize = 32;

/// Reads values that were laid out little end first.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn pad(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.pad(N);
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn text_of(&mut self, length: usize) -> Option<String> {
        let text = self.take(length)?.to_vec();
        (self.take(1)? == [0]).then_some(())?;
        String::from_utf8(text).ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()?;
        self.text_of(length.try_into().ok()?)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.take(1)?.first().copied()?;
        self.text_of(length.into())
    }

    /// Reads all values of a signature; `None` for what is not laid out so, and for dictionaries, which nothing that we
    /// ask for has.
    pub(super) fn values(&mut self, signature: &str) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        let mut rest = signature;
        while !rest.is_empty() {
            let (one, more) = split_type(rest)?;
            values.push(self.value(one, 0)?);
            rest = more;
        }
        Some(values)
    }

    fn value(&mut self, signature: &str, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.pad(alignment(signature));
        Some(match signature.as_bytes().first()? {
            b'b' => Value::Bool(self.u32()? != 0),
            b'y' => Value::Byte(*self.take(1)?.first()?),
            b'n' => Value::I16(i16::from_le_bytes(self.number()?)),
            b'q' => Value::U16(u16::from_le_bytes(self.number()?)),
            b'i' => Value::I32(i32::from_le_bytes(self.number()?)),
            b'u' => Value::U32(self.u32()?),
            b'x' => Value::I64(i64::from_le_bytes(self.number()?)),
            b't' => Value::U64(u64::from_le_bytes(self.number()?)),
            b'd' => Value::F64(f64::from_le_bytes(self.number()?)),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'a' => self.array(signature.get(1..)?, depth)?,
            b'(' => {
                let mut rest = signature.get(1..signature.len().checked_sub(1)?)?;
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (one, more) = split_type(rest)?;
                    fields.push(self.value(one, depth + 1)?);
                    rest = more;
                }
                Value::Struct(fields)
            }
            b'v' => {
                let inner = self.signature()?;
                let (one, rest) = split_type(&inner)?;
                rest.is_empty().then_some(())?;
                Value::Variant(Box::new(self.value(one, depth + 1)?))
            }
            _ => return None,
        })
    }

    fn array(&mut self, of: &str, depth: usize) -> Option<Value> {
        let size = usize::try_from(self.u32()?).ok()?;
        self.pad(alignment(of));
        let end = self.at.checked_add(size).filter(|end| *end <= self.bytes.len())?;
        let mut elements = Vec::new();
        while self.at < end {
            elements.push(self.value(of, depth + 1)?);
        }
        (self.at == end).then(|| Value::Array(of.to_owned(), elements))
    }
}

/// The first complete type of a signature, and the rest.
pub(super) fn split_type(signature: &str) -> Option<(&str, &str)> {
    let mut open = 0usize;
    for (at, letter) in signature.bytes().enumerate() {
        match letter {
            b'a' => continue,
            b'(' => open += 1,
            b')' => open = open.checked_sub(1)?,
            b'b' | b'y' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => {}
            _ => return None,
        }
        if open == 0 {
            return Some(signature.split_at(at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(value: &Value) {
        let mut writer = Writer::default();
        writer.value(value);
        let signature = value.signature();
        let mut reader = Reader::new(&writer.bytes);
        let read = reader.values(&signature);
        assert_eq!(read.as_deref(), Some(std::slice::from_ref(value)), "{signature}");
        assert_eq!(reader.at, writer.bytes.len());
        for cut in 0..writer.bytes.len() {
            // What is cut short is refused, never read beyond.
            let _ = Reader::new(&writer.bytes[..cut]).values(&signature);
        }
    }

    #[test]
    fn every_type_is_read_as_it_was_written() {
        let pair = |a: &str, n: u64| Value::Struct(vec![Value::text(a), Value::U64(n)]);
        for value in [
            Value::Bool(true),
            Value::Byte(7),
            Value::I16(-2),
            Value::U16(2),
            Value::I32(-3),
            Value::U32(3),
            Value::I64(-4),
            Value::U64(u64::MAX),
            Value::F64(0.5),
            Value::text("scope"),
            Value::Path("/org/freedesktop/systemd1".to_owned()),
            Value::Signature("a(sv)".to_owned()),
            Value::bytes([1, 2, 3]),
            Value::Array("(st)".to_owned(), vec![pair("/dev/sda", 5), pair("x", 6)]),
            Value::Array("t".to_owned(), Vec::new()),
            Value::Variant(Box::new(Value::Struct(vec![
                Value::Byte(1),
                Value::Variant(Box::new(Value::U64(9))),
            ]))),
        ] {
            there_and_back(&value);
            there_and_back(&Value::Struct(vec![Value::Byte(1), value]));
        }
    }

    /// The layout itself, worked out by hand from the D-Bus specification, "Marshaling (Wire Format)".
    #[test]
    fn the_layout_is_that_of_the_specification() {
        let mut writer = Writer::default();
        writer.value(&Value::Byte(1));
        writer.value(&Value::Array("(yt)".into(), vec![Value::Struct(vec![Value::Byte(2), Value::U64(3)])]));
        writer.value(&Value::text("ab"));
        let expected = [
            &[1, 0, 0, 0][..],
            &[16, 0, 0, 0],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0, 0],
            b"ab\0",
        ];
        assert_eq!(writer.bytes, expected.concat());
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for signature in ["a", "(", "(s", ")", "z", "a{sv}", "a("] {
            assert_eq!(Reader::new(&[0; 64]).values(signature), None, "{signature}");
        }
        let deep = "v".to_owned();
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes.extend_from_slice(b"\x01v\0");
        }
        assert_eq!(Reader::new(&bytes).values(&deep), None);
    }
}
