//! The framing of ttrpc: ten bytes of header, then a message (`github.com/containerd/ttrpc`, PROTOCOL.md).

use crate::api::{Request, Response, RpcStatus};
use crate::wire::{Message, WireError};

/// Bytes of a header: length, stream, type, flags.
pub const HEADER: usize = 10;
/// The longest message of the protocol.
pub const MAX_MESSAGE: usize = 4 << 20;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const DATA: u8 = 3;

/// The codes of gRPC that the shim answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// Why a call failed, as its caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Kind.
    pub code: Code,
    /// Words.
    pub message: String,
}

impl Status {
    /// A failure.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        Self::new(Code::InvalidArgument, format!("unmarshal the request: {error}"))
    }
}

/// What a peer sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A call.
    Request {
        /// The stream that the answer goes to.
        stream: u32,
        /// What is called.
        request: Request,
    },
    /// The answer to a call of ours.
    Response {
        /// The call's stream.
        stream: u32,
        /// The answer.
        response: Response,
    },
    /// Something that is answered with a failure, or not at all, and after which the connection goes on.
    Refused {
        /// The stream.
        stream: u32,
        /// What is wrong with it; `None` when nobody waits for an answer.
        status: Option<Status>,
    },
}

/// A peer that does not speak the protocol: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Takes frames off a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes still to come of a message that is too long to be kept.
    discard: usize,
}

impl Decoder {
    /// Takes what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        let skipped = self.discard.min(bytes.len());
        self.discard -= skipped;
        self.buffer.extend_from_slice(bytes.get(skipped..).unwrap_or_default());
    }

    /// The next frame that is here as a whole.
    ///
    /// # Errors
    /// The peer breaks the protocol in a way that one cannot go on from.
    pub fn frame(&mut self) -> Result<Option<Frame>, Broken> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, e, f, g, h, kind, _flags] = *header;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let stream = u32::from_be_bytes([e, f, g, h]);
        if length > MAX_MESSAGE {
            let here = rest.len().min(length);
            self.discard = length - here;
            self.consume(HEADER + here);
            let message = format!("message length {length} exceed maximum message size of {MAX_MESSAGE}");
            let status = (kind == REQUEST).then(|| Status::new(Code::ResourceExhausted, message));
            return Ok(Some(Frame::Refused { stream, status }));
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = decode(kind, stream, payload)?;
        self.consume(HEADER + length);
        Ok(Some(frame))
    }

    fn consume(&mut self, length: usize) {
        self.buffer.drain(..length);
        if self.buffer.is_empty() {
            // An idle connection keeps no buffer.
            self.buffer = Vec::new();
        }
    }
}

fn decode(kind: u8, stream: u32, payload: &[u8]) -> Result<Frame, Broken> {
    Ok(match kind {
        // Clients open streams of odd numbers.
        REQUEST if stream.is_multiple_of(2) => {
            let message = "StreamID must be odd for client initiated streams";
            Frame::Refused { stream, status: Some(Status::new(Code::InvalidArgument, message)) }
        }
        REQUEST => match Request::decode(payload) {
            Ok(request) => Frame::Request { stream, request },
            Err(error) => Frame::Refused { stream, status: Some(error.into()) },
        },
        RESPONSE => Frame::Response { stream, response: Response::decode(payload).map_err(|_| Broken)? },
        // No method here streams, so that data belong to nothing.
        DATA => Frame::Refused { stream, status: None },
        _ => return Err(Broken),
    })
}

fn put_frame(out: &mut Vec<u8>, stream: u32, kind: u8, message: &impl Message) {
    let payload = message.encode();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&payload);
}

/// Appends the answer to a call.
pub fn put_response(out: &mut Vec<u8>, stream: u32, answer: Result<Vec<u8>, Status>) {
    let response = match answer {
        Ok(payload) => Response { status: None, payload },
        Err(status) => Response {
            status: Some(RpcStatus { code: status.code as i32, message: status.message }),
            payload: Vec::new(),
        },
    };
    put_frame(out, stream, RESPONSE, &response);
}

/// Appends a call.
pub fn put_request(out: &mut Vec<u8>, stream: u32, request: &Request) {
    put_frame(out, stream, REQUEST, request);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            service: "s".into(),
            method: "m".into(),
            payload: vec![1, 2, 3],
            timeout_nano: 5,
            metadata: Vec::new(),
        }
    }

    #[test]
    fn a_call_arrives_however_it_is_cut() {
        let mut bytes = Vec::new();
        put_request(&mut bytes, 1, &request());
        put_request(&mut bytes, 3, &request());
        for size in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let mut streams = Vec::new();
            for chunk in bytes.chunks(size) {
                decoder.feed(chunk);
                while let Some(frame) = decoder.frame().unwrap() {
                    let Frame::Request { stream, request: got } = frame else { panic!("{frame:?}") };
                    assert_eq!(got, request());
                    streams.push(stream);
                }
            }
            assert_eq!(streams, [1, 3], "in pieces of {size}");
            assert_eq!(decoder.buffer.capacity(), 0);
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_and_passed_over() {
        let length = MAX_MESSAGE + 7;
        let mut decoder = Decoder::default();
        decoder.feed(&u32::try_from(length).unwrap().to_be_bytes());
        decoder.feed(&[0, 0, 0, 5, REQUEST, 0]);
        let Ok(Some(Frame::Refused { stream: 5, status: Some(status) })) = decoder.frame() else { panic!() };
        assert_eq!(status.code, Code::ResourceExhausted);
        for _ in 0..length.div_ceil(1 << 16) - 1 {
            decoder.feed(&[0; 1 << 16]);
            assert_eq!(decoder.frame(), Ok(None));
            assert_eq!(decoder.buffer.capacity(), 0);
        }
        let mut last = vec![0; length % (1 << 16)];
        put_request(&mut last, 7, &request());
        decoder.feed(&last);
        assert!(matches!(decoder.frame(), Ok(Some(Frame::Request { stream: 7, .. }))));
    }

    #[test]
    fn a_peer_that_speaks_something_else_is_left() {
        let mut decoder = Decoder::default();
        decoder.feed(&[0, 0, 0, 0, 0, 0, 0, 1, 9, 0]);
        assert_eq!(decoder.frame(), Err(Broken));
    }

    #[test]
    fn faults_of_one_call_do_not_end_the_connection() {
        let mut decoder = Decoder::default();
        decoder.feed(&[0, 0, 0, 1, 0, 0, 0, 1, REQUEST, 0, 0xff]);
        assert!(matches!(decoder.frame(), Ok(Some(Frame::Refused { stream: 1, status: Some(_) }))));
        decoder.feed(&[0, 0, 0, 0, 0, 0, 0, 2, REQUEST, 0]);
        assert!(matches!(decoder.frame(), Ok(Some(Frame::Refused { stream: 2, status: Some(_) }))));
        decoder.feed(&[0, 0, 0, 0, 0, 0, 0, 1, DATA, 0]);
        assert_eq!(decoder.frame(), Ok(Some(Frame::Refused { stream: 1, status: None })));
        assert_eq!(decoder.frame(), Ok(None));
    }
}
