//! Values written as text, in the form of GVariant (`uint64 5`, `['a', 'b']`, `@as []`), as `org.systemd.property.*`
//! annotations have them.

use super::value::{Value, split_type};

/// The deepest nesting: no property of systemd's comes near.
const DEEPEST: usize = 16;

/// Reads one value and nothing else.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text };
    let value = parser.value(None, 0)?;
    parser.blanks();
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("{:?} is left after the value", parser.rest)) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, what: char) -> bool {
        self.blanks();
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, what: char) -> Result<(), String> {
        if self.eat(what) { Ok(()) } else { Err(format!("{what:?} is missing before {:?}", self.rest)) }
    }

    /// A value; of the type `wanted` if one is given.
    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err("it is nested too deep".to_owned());
        }
        self.blanks();
        let value = match self.rest.chars().next() {
            None => return Err("a value is missing".to_owned()),
            Some('@') => return self.annotated(depth),
            Some('[') => self.array(wanted, depth)?,
            Some('(') => self.tuple(wanted, depth)?,
            Some('<') => {
                self.eat('<');
                let inner = self.value(None, depth + 1)?;
                self.expect('>')?;
                Value::Variant(Box::new(inner))
            }
            Some('{') => return Err("dictionaries are no property's type".to_owned()),
            Some('\'' | '"') => self.quoted().and_then(|text| of_text(text, wanted))?,
            Some(_) => self.word(wanted, depth)?,
        };
        match wanted {
            Some(wanted) if value.signature() != wanted => {
                Err(format!("a value of type {:?} where {wanted:?} must be", value.signature()))
            }
            _ => Ok(value),
        }
    }

    /// `@as []`
    fn annotated(&mut self, depth: usize) -> Result<Value, String> {
        self.eat('@');
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (signature, rest) = self.rest.split_at(end);
        if split_type(signature).is_none_or(|(_, more)| !more.is_empty()) {
            return Err(format!("{signature:?} is no type"));
        }
        self.rest = rest;
        self.value(Some(signature), depth + 1)
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.expect('[')?;
        let mut of = wanted.and_then(|wanted| wanted.strip_prefix('a')).map(str::to_owned);
        let mut elements = Vec::new();
        if !self.eat(']') {
            loop {
                let element = self.value(of.as_deref(), depth + 1)?;
                of.get_or_insert_with(|| element.signature());
                elements.push(element);
                if self.eat(']') {
                    break;
                }
                self.expect(',')?;
            }
        }
        let of = of.ok_or("an empty array needs its type before it, as in \"@as []\"")?;
        Ok(Value::Array(of, elements))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        self.expect('(')?;
        let mut types =
            wanted.and_then(|w| w.strip_prefix('(')).and_then(|w| w.strip_suffix(')')).unwrap_or("");
        let mut fields = Vec::new();
        while !self.eat(')') {
            let (one, rest) = split_type(types).map_or((None, ""), |(one, rest)| (Some(one), rest));
            types = rest;
            fields.push(self.value(one, depth + 1)?);
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        if fields.is_empty() { Err("a structure has fields".to_owned()) } else { Ok(Value::Struct(fields)) }
    }

    /// A number, a truth value, a bytestring, or a type's name with a value after it.
    fn word(&mut self, wanted: Option<&str>, depth: usize) -> Result<Value, String> {
        if self.rest.starts_with("b'") || self.rest.starts_with("b\"") {
            self.rest = self.rest.get(1..).unwrap_or_default();
            let text = self.quoted()?;
            return Ok(Value::bytes(text.bytes().chain([0])));
        }
        let is_end = |c: char| c.is_whitespace() || ",])>".contains(c);
        let (word, rest) = self.rest.split_at(self.rest.find(is_end).unwrap_or(self.rest.len()));
        self.rest = rest;
        let named = match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            number => return of_number(number, wanted),
        };
        self.value(Some(named), depth + 1)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.char_indices();
        let quote = letters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            if Some(letter) == quote {
                self.rest = self.rest.get(at + letter.len_utf8()..).unwrap_or_default();
                return Ok(text);
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let escape = letters.next().map(|(_, escape)| escape).ok_or("a text ends in a backslash")?;
            text.push(match escape {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'u' => code(&mut letters, 4)?,
                'U' => code(&mut letters, 8)?,
                other => other,
            });
        }
        Err("a text has no end".to_owned())
    }
}

fn code(letters: &mut std::str::CharIndices<'_>, digits: usize) -> Result<char, String> {
    let hex: String = letters.take(digits).map(|(_, letter)| letter).collect();
    let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits);
    code.and_then(char::from_u32).filter(|c| *c != '\0').ok_or_else(|| format!("{hex:?} is no character"))
}

fn of_text(text: String, wanted: Option<&str>) -> Result<Value, String> {
    if text.contains('\0') {
        return Err("a text cannot hold NUL".to_owned());
    }
    Ok(match wanted {
        Some("o") => Value::Path(text),
        Some("g") => Value::Signature(text),
        _ => Value::Text(text),
    })
}

fn of_number(text: &str, wanted: Option<&str>) -> Result<Value, String> {
    let bad =
        || format!("{text:?} is no value{}", wanted.map_or(String::new(), |w| format!(" of type {w:?}")));
    let real = text.contains('.') && !text.contains('x');
    if wanted == Some("d") || (wanted.is_none() && real) {
        return text.parse().map(Value::F64).map_err(|_| bad());
    }
    let number = integer(text).ok_or_else(bad)?;
    let value = match wanted.unwrap_or("i") {
        "y" => number.try_into().map(Value::Byte),
        "n" => number.try_into().map(Value::I16),
        "q" => number.try_into().map(Value::U16),
        "i" => number.try_into().map(Value::I32),
        "u" => number.try_into().map(Value::U32),
        "x" => number.try_into().map(Value::I64),
        "t" => number.try_into().map(Value::U64),
        _ => return Err(bad()),
    };
    value.map_err(|_| bad())
}

fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    digits.starts_with(|c: char| c.is_ascii_hexdigit()).then_some(())?;
    i128::from_str_radix(digits, radix).ok().map(|n| sign * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let texts = |of: &[&str]| Value::Array("s".into(), of.iter().map(|t| Value::text(*t)).collect());
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-5", Value::I32(-5)),
            ("0x10", Value::I32(16)),
            ("010", Value::I32(8)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("byte 0xff", Value::Byte(255)),
            ("int64 -1", Value::I64(-1)),
            ("1.5", Value::F64(1.5)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            ("\"a\\\"b\\n\\u00e9\"", Value::text("a\"b\né")),
            ("['a', 'b']", texts(&["a", "b"])),
            ("@as []", texts(&[])),
            ("@at [1, 2]", Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)])),
            ("[uint64 1, 2]", Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)])),
            ("b'ab'", Value::bytes(*b"ab\0")),
            ("('a', uint64 2)", Value::Struct(vec![Value::text("a"), Value::U64(2)])),
            ("@(st) ('a', 2)", Value::Struct(vec![Value::text("a"), Value::U64(2)])),
            (
                "[('a', uint64 2)]",
                Value::Array("(st)".into(), vec![Value::Struct(vec![Value::text("a"), Value::U64(2)])]),
            ),
            ("<'v'>", Value::Variant(Box::new(Value::text("v")))),
            (" objectpath '/a' ", Value::Path("/a".into())),
        ] {
            assert_eq!(parse(&value.to_string()), Ok(value.clone()), "{text}: {value}");
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value() {
        let deep = "[".repeat(1000);
        for text in [
            "",
            " ",
            "x",
            "5 6",
            "[]",
            "[1, 'a']",
            "['a'",
            "'a",
            "'a\\",
            "uint64 -1",
            "byte 256",
            "5000000000",
            "uint32",
            "()",
            "{'a': 1}",
            "@z 1",
            "@as 1",
            "@as ['a'",
            "'\\u0000'",
            "'\\ud800'",
            "--5",
            "0x",
            "1e",
            "true false",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{text:?}: {:?}", parse(text));
        }
    }
}
