//! What arrives on the shim's socket, from bytes of anybody's choosing, cut anywhere: frames, calls, and the messages in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_shim::api::{
    CreateTaskRequest, ExecProcessRequest, KillRequest, ProcessRequest, Request, Response, UpdateTaskRequest,
};
use orlop_shim::options::Options;
use orlop_shim::ttrpc::{Decoder, Frame, MAX_MESSAGE, put_request};
use orlop_shim::wire::Message;

/// A message that can be read is the same after it was written and read again.
fn survives<T: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let message = T::decode(bytes).ok()?;
    assert_eq!(T::decode(&message.encode()).as_ref(), Ok(&message));
    Some(message)
}

fn look_into(request: &Request) {
    let mut bytes = Vec::new();
    put_request(&mut bytes, 1, request);
    let mut decoder = Decoder::default();
    decoder.feed(&bytes);
    if bytes.len() < MAX_MESSAGE {
        assert_eq!(decoder.frame(), Ok(Some(Frame::Request { stream: 1, request: request.clone() })));
    }
    let payload = request.payload.as_slice();
    survives::<ProcessRequest>(payload);
    survives::<KillRequest>(payload);
    survives::<ExecProcessRequest>(payload);
    survives::<UpdateTaskRequest>(payload);
    if let Some(create) = survives::<CreateTaskRequest>(payload) {
        // Options that name a file would be read from there: not what is looked for here.
        let harmless = create.options.filter(|any| any.type_name() != "runtimeoptions.v1.Options");
        let _ = Options::from_any(harmless.as_ref());
    }
}

fuzz_target!(|input: (usize, Vec<u8>)| {
    let (size, bytes) = input;
    survives::<Response>(&bytes);
    if let Some(request) = survives::<Request>(&bytes) {
        look_into(&request);
    }
    let frames = |size: usize| {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for chunk in bytes.chunks(size) {
            decoder.feed(chunk);
            loop {
                match decoder.frame() {
                    Ok(Some(frame)) => seen.push(Ok(frame)),
                    Ok(None) => break,
                    Err(broken) => {
                        seen.push(Err(broken));
                        return seen;
                    }
                }
            }
        }
        seen
    };
    // However the stream is cut, it says the same.
    assert_eq!(frames(size.clamp(1, 64)), frames(bytes.len().max(1)));
});
