//! What arrives on the shim's socket, from bytes of anybody's choosing: the first byte says in pieces of which size, the
//! others are the stream of frames, with calls in them, and the messages of those.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_shim::api::{
    BootstrapParams, CheckpointTaskRequest, CloseIoRequest, CreateTaskRequest, ExecProcessRequest,
    ForwardRequest, KillRequest, ProcessRequest, Request, ResizePtyRequest, Response, SandboxRequest,
    ShutdownRequest, UpdateTaskRequest,
};
use orlop_shim::options::Options;
use orlop_shim::ttrpc::{Broken, Decoder, Frame, MAX_MESSAGE, put_request};
use orlop_shim::wire::Message;

/// A message that can be read is the same after it was written and read again.
fn survives<T: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let message = T::decode(bytes).ok()?;
    assert_eq!(T::decode(&message.encode()).as_ref(), Ok(&message));
    Some(message)
}

/// The call can be sent on as it came, and its payload is read as the message that the method takes.
fn look_into(request: &Request) {
    let mut bytes = Vec::new();
    put_request(&mut bytes, 1, request);
    let mut decoder = Decoder::default();
    decoder.feed(&bytes);
    if bytes.len() < MAX_MESSAGE {
        assert_eq!(decoder.frame(), Ok(Some(Frame::Request { stream: 1, request: request.clone() })));
    }
    let payload = request.payload.as_slice();
    match request.method.as_str() {
        "Create" => {
            if let Some(create) = survives::<CreateTaskRequest>(payload) {
                // Options that name a file would be read from there: not what is looked for here.
                let named = |any: &orlop_shim::api::Any| any.type_name() != "runtimeoptions.v1.Options";
                let _ = Options::from_any(create.options.filter(named).as_ref());
            }
        }
        "Exec" => drop(survives::<ExecProcessRequest>(payload)),
        "Kill" => drop(survives::<KillRequest>(payload)),
        "ResizePty" => drop(survives::<ResizePtyRequest>(payload)),
        "CloseIO" => drop(survives::<CloseIoRequest>(payload)),
        "Update" => drop(survives::<UpdateTaskRequest>(payload)),
        "Checkpoint" => drop(survives::<CheckpointTaskRequest>(payload)),
        "Shutdown" => drop(survives::<ShutdownRequest>(payload)),
        "Forward" => drop(survives::<ForwardRequest>(payload)),
        method if method.ends_with("Sandbox") => drop(survives::<SandboxRequest>(payload)),
        _ => drop(survives::<ProcessRequest>(payload)),
    }
}

/// What the stream says when it comes in pieces of this size.
fn frames(stream: &[u8], size: usize) -> Vec<Result<Frame, Broken>> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for chunk in stream.chunks(size) {
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
}

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    for frame in whole.iter().flatten() {
        if let Frame::Request { request, .. } = frame {
            look_into(request);
        }
    }
    // However the stream is cut, it says the same.
    assert_eq!(frames(stream, usize::from(*size).clamp(1, 64)), whole);
    // What `start` reads, and what containerd answers.
    survives::<BootstrapParams>(stream);
    survives::<Response>(stream);
});
