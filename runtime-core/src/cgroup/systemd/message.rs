//! The messages of D-Bus, as far as systemd's manager is spoken to.

use super::value::{Reader, Value, Writer};

/// No message of systemd's to us comes near to it; what claims to be longer is not believed.
pub(super) const LONGEST: usize = 1 << 20;
/// What comes before the fields: from it, the length of the whole is known.
pub(super) const START: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method to be called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub(super) destination: &'static str,
    pub(super) path: &'static str,
    pub(super) interface: &'static str,
    pub(super) member: &'static str,
}

/// The call of a method; `direct` to the peer, without a bus that would have to know the destination.
pub(super) fn call(method: Method, serial: u32, arguments: &[Value], direct: bool) -> Vec<u8> {
    let mut body = Writer::default();
    arguments.iter().for_each(|argument| body.value(argument));
    let field =
        |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
    let mut fields = vec![
        field(PATH, Value::Path(method.path.to_owned())),
        field(INTERFACE, Value::text(method.interface)),
        field(MEMBER, Value::text(method.member)),
    ];
    if !direct {
        fields.push(field(DESTINATION, Value::text(method.destination)));
    }
    if !arguments.is_empty() {
        let signature = arguments.iter().map(Value::signature).collect();
        fields.push(field(SIGNATURE, Value::Signature(signature)));
    }
    let mut message = Writer { bytes: vec![b'l', METHOD_CALL, 0, 1] };
    message.u32(u32::try_from(body.bytes.len()).unwrap_or(u32::MAX));
    message.u32(serial);
    message.value(&Value::Array("(yv)".to_owned(), fields));
    message.pad(8);
    message.bytes.extend_from_slice(&body.bytes);
    message.bytes
}

/// What the other side says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Incoming {
    /// The answer to the call with this number.
    Reply { serial: u32, values: Vec<Value> },
    /// The refusal of the call with this number.
    Refusal { serial: u32, name: String, text: String },
    /// A job has ended.
    JobRemoved { job: String, result: String },
    /// Something that is not for us.
    Other,
}

/// How long the message is that begins with these bytes; `None` for what is no message.
pub(super) fn length(start: &[u8]) -> Option<usize> {
    let (&endian, &version) = (start.first()?, start.get(3)?);
    // The manager is on our machine, and so its little end is ours.
    (endian == b'l' && version == 1).then_some(())?;
    let mut reader = Reader::new(start.get(4..START)?);
    let (body, _, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let fields = usize::try_from(fields).ok()?.checked_next_multiple_of(8)?;
    let whole = START.checked_add(fields)?.checked_add(usize::try_from(body).ok()?)?;
    (whole <= LONGEST).then_some(whole)
}

/// Reads a whole message; `None` for what is none.
pub(super) fn decode(message: &[u8]) -> Option<Incoming> {
    let kind = *message.get(1)?;
    let mut reader = Reader::new(message);
    // Past the four bytes, the length of the body, and the serial number.
    let _start = (reader.u32()?, reader.u32()?, reader.u32()?);
    let Value::Array(_, fields) = reader.values("a(yv)")?.pop()? else { return None };
    let fields = Fields(fields);
    reader.pad(8);
    let signature = fields.text(SIGNATURE).unwrap_or_default();
    match kind {
        METHOD_RETURN => {
            // An answer with what we cannot read is an answer: we only ask for what we can.
            let values = reader.values(&signature).unwrap_or_default();
            Some(Incoming::Reply { serial: fields.serial()?, values })
        }
        ERROR => {
            let values = reader.values(&signature).unwrap_or_default();
            let text = values.first().and_then(text).unwrap_or_default();
            Some(Incoming::Refusal { serial: fields.serial()?, name: fields.text(ERROR_NAME)?, text })
        }
        SIGNAL if fields.text(MEMBER)? == "JobRemoved" && signature == "uoss" => {
            let values = reader.values(&signature)?;
            let at = |n: usize| values.get(n).and_then(text);
            Some(Incoming::JobRemoved { job: at(1)?, result: at(3)? })
        }
        _ => Some(Incoming::Other),
    }
}

/// The text of a value that has one.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Path(text) | Value::Signature(text) => Some(text.clone()),
        _ => None,
    }
}

struct Fields(Vec<Value>);

impl Fields {
    fn get(&self, wanted: u8) -> Option<&Value> {
        self.0.iter().find_map(|field| match field {
            Value::Struct(pair) => match pair.as_slice() {
                [Value::Byte(code), Value::Variant(value)] if *code == wanted => Some(&**value),
                _ => None,
            },
            _ => None,
        })
    }

    fn text(&self, code: u8) -> Option<String> {
        self.get(code).and_then(text)
    }

    fn serial(&self) -> Option<u32> {
        match self.get(REPLY_SERIAL) {
            Some(Value::U32(serial)) => Some(*serial),
            _ => None,
        }
    }
}

/// Messages as the other side lays them out, for tests.
#[cfg(test)]
pub(super) mod peer {
    use super::*;

    fn message(kind: u8, fields: Vec<(u8, Value)>, arguments: &[Value]) -> Vec<u8> {
        let mut body = Writer::default();
        arguments.iter().for_each(|argument| body.value(argument));
        let signature: String = arguments.iter().map(Value::signature).collect();
        let fields = fields.into_iter().chain([(SIGNATURE, Value::Signature(signature))]);
        let fields = fields
            .map(|(code, value)| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
        let mut message = Writer { bytes: vec![b'l', kind, 1, 1] };
        message.u32(u32::try_from(body.bytes.len()).unwrap());
        message.u32(77);
        message.value(&Value::Array("(yv)".to_owned(), fields.collect()));
        message.pad(8);
        message.bytes.extend_from_slice(&body.bytes);
        message.bytes
    }

    pub fn reply(serial: u32, arguments: &[Value]) -> Vec<u8> {
        message(METHOD_RETURN, vec![(REPLY_SERIAL, Value::U32(serial))], arguments)
    }

    pub fn refusal(serial: u32, name: &str, text: &str) -> Vec<u8> {
        let fields = vec![(REPLY_SERIAL, Value::U32(serial)), (ERROR_NAME, Value::text(name))];
        message(ERROR, fields, &[Value::text(text)])
    }

    pub fn signal(member: &str, arguments: &[Value]) -> Vec<u8> {
        let fields = vec![
            (PATH, Value::Path("/org/freedesktop/systemd1".into())),
            (INTERFACE, Value::text("org.freedesktop.systemd1.Manager")),
            (MEMBER, Value::text(member)),
        ];
        message(SIGNAL, fields, arguments)
    }

    pub fn job_removed(job: &str, unit: &str, result: &str) -> Vec<u8> {
        let arguments = [Value::U32(1), Value::Path(job.into()), Value::text(unit), Value::text(result)];
        signal("JobRemoved", &arguments)
    }

    /// The serial number, the member and the arguments of a call.
    pub fn read_call(message: &[u8]) -> (u32, String, Vec<Value>) {
        assert_eq!(message[1], METHOD_CALL);
        let mut reader = Reader::new(message);
        let _kind_and_length = (reader.u32(), reader.u32());
        let serial = reader.u32().unwrap();
        let Some(Value::Array(_, fields)) = reader.values("a(yv)").unwrap().pop() else {
            panic!("no fields")
        };
        let fields = Fields(fields);
        reader.pad(8);
        let arguments = reader.values(&fields.text(SIGNATURE).unwrap_or_default()).unwrap();
        (serial, fields.text(MEMBER).unwrap(), arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Method = Method { destination: "a.b", path: "/", interface: "a.b", member: "Ping" };

    #[test]
    fn a_call_has_its_length_and_is_read_back() {
        let arguments = [Value::text("x"), Value::bytes([1])];
        for direct in [true, false] {
            let message = call(PING, 9, &arguments, direct);
            assert_eq!(length(&message), Some(message.len()));
            assert_eq!(peer::read_call(&message), (9, "Ping".to_owned(), arguments.to_vec()));
        }
        assert!(call(PING, 1, &[], true).len() < call(PING, 1, &[], false).len());
    }

    #[test]
    fn what_comes_in() {
        let job = "/org/freedesktop/systemd1/job/5";
        assert_eq!(
            decode(&peer::job_removed(job, "a.scope", "done")),
            Some(Incoming::JobRemoved { job: job.into(), result: "done".into() })
        );
        assert_eq!(decode(&peer::signal("UnitNew", &[Value::text("a.scope")])), Some(Incoming::Other));
        let reply = Incoming::Reply { serial: 4, values: vec![Value::Path(job.into())] };
        assert_eq!(decode(&peer::reply(4, &[Value::Path(job.into())])), Some(reply));
        let refusal = Incoming::Refusal { serial: 4, name: "a.b.C".into(), text: "no".into() };
        assert_eq!(decode(&peer::refusal(4, "a.b.C", "no")), Some(refusal));
    }

    #[test]
    fn damaged_messages_are_refused() {
        let whole = peer::job_removed("/j", "a.scope", "done");
        for cut in 0..whole.len() {
            let _ = decode(&whole[..cut]);
        }
        assert_eq!(length(b"B\x04\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0"), None);
        assert_eq!(length(b"l\x04\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0"), None);
        assert_eq!(length(b"l\x04\x01\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0"), None);
    }
}
