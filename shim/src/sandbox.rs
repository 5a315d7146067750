//! The Sandbox service: for containerd, a shim that groups containers is a sandbox.  There is nothing in it but the containers,
//! so it is ready when the shim is, and ends with it.

use crate::api::{
    Empty, Platform, PlatformResponse, SandboxRequest, SandboxStatusResponse, StartSandboxResponse,
    Timestamp, WaitResponse,
};
use crate::service::Outcome;
use crate::shim::Shim;
use crate::task::Ticket;
use crate::ttrpc::{Code, Status};
use crate::wire::Message;

/// What is known of it.
#[derive(Debug, Default)]
pub struct Sandbox {
    created: Option<Timestamp>,
    stopped: Option<Timestamp>,
    waiters: Vec<Ticket>,
}

impl Sandbox {
    /// It was made, and not stopped.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.created.is_some() && self.stopped.is_none()
    }

    /// A connection is gone, and with it those who waited.
    pub fn forget_waiters(&mut self, connection: u64) {
        self.waiters.retain(|ticket| ticket.connection != connection);
    }
}

fn now(message: &impl Message) -> Outcome {
    Ok(Some(message.encode()))
}

impl Shim {
    /// Calls a method of the Sandbox service.
    ///
    /// # Errors
    /// There is no such method, or no such sandbox yet.
    pub fn call_sandbox(&mut self, ticket: Ticket, method: &str, payload: &[u8]) -> Outcome {
        let request = SandboxRequest::decode(payload)?;
        match method {
            "CreateSandbox" => {
                self.sandbox.created.get_or_insert_with(Timestamp::now);
                now(&Empty {})
            }
            "StartSandbox" => {
                let created_at = Some(self.sandbox.created.get_or_insert_with(Timestamp::now).clone());
                now(&StartSandboxResponse { pid: std::process::id(), created_at })
            }
            "Platform" => now(&PlatformResponse { platform: Some(platform()) }),
            "StopSandbox" => self.stop_sandbox(),
            "WaitSandbox" => match &self.sandbox.stopped {
                Some(at) => now(&WaitResponse { exit_status: 0, exited_at: Some(at.clone()) }),
                None => {
                    self.sandbox.waiters.push(ticket);
                    Ok(None)
                }
            },
            "SandboxStatus" => now(&self.sandbox_status(request.sandbox_id)),
            "PingSandbox" => now(&Empty {}),
            "ShutdownSandbox" => {
                self.closing = true;
                self.stop_sandbox()
            }
            _ => Err(Status::new(Code::Unimplemented, format!("method {method}: not implemented"))),
        }
    }

    fn stop_sandbox(&mut self) -> Outcome {
        let at = self.sandbox.stopped.get_or_insert_with(Timestamp::now).clone();
        let answer = WaitResponse { exit_status: 0, exited_at: Some(at) }.encode();
        let waiters = std::mem::take(&mut self.sandbox.waiters);
        self.answers.extend(waiters.into_iter().map(|ticket| (ticket, Ok(answer.clone()))));
        now(&Empty {})
    }

    fn sandbox_status(&self, sandbox_id: String) -> SandboxStatusResponse {
        SandboxStatusResponse {
            sandbox_id,
            pid: std::process::id(),
            state: if self.sandbox.is_ready() { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" }.to_owned(),
            info: Vec::new(),
            created_at: self.sandbox.created.clone(),
            exited_at: self.sandbox.stopped.clone(),
        }
    }
}

/// What containers here run on, in the words of images.
fn platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: String::new() }
}
