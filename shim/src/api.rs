//! The messages of containerd that a shim reads and writes, by the numbers of its .proto files.
//!
//!
//! The Task service is the same in its versions 2 and 3 but for its name: `api/runtime/task/v2` and `v3` of containerd.

orlop_core::message! {
    /// ttrpc: a call.
    Request { service: String = 1, method: String = 2, payload: Vec<u8> = 3, timeout_nano: i64 = 4, metadata: Vec<KeyValue> = 5 }
    /// ttrpc: one of the headers of a call.
    KeyValue { key: String = 1, value: String = 2 }
    /// ttrpc: the answer.
    Response { status: Option<RpcStatus> = 1, payload: Vec<u8> = 2 }
    /// `google.rpc.Status`.
    RpcStatus { code: i32 = 1, message: String = 2 }

    /// `google.protobuf.Any`.
    Any { type_url: String = 1, value: Vec<u8> = 2 }
    /// `google.protobuf.Timestamp`.
    Timestamp { seconds: i64 = 1, nanos: i32 = 2 }
    /// An entry of a `map<string, string>`.
    Pair { key: String = 1, value: String = 2 }
    /// `containerd.types.Mount`.
    Mount { kind: String = 1, source: String = 2, target: String = 3, options: Vec<String> = 4 }

    /// What all requests but Shutdown's hold first.
    TaskId { id: String = 1 }
    /// What most requests hold: of a task, or of one of its processes.
    ProcessRequest { id: String = 1, exec_id: String = 2 }
    CreateTaskRequest {
        id: String = 1, bundle: String = 2, rootfs: Vec<Mount> = 3, terminal: bool = 4, stdin: String = 5, stdout: String = 6,
        stderr: String = 7, checkpoint: String = 8, parent_checkpoint: String = 9, options: Option<Any> = 10
    }
    /// The answer to Create and to Start.
    PidResponse { pid: u32 = 1 }
    /// The answer to Delete, of the service and of the program.
    DeleteResponse { pid: u32 = 1, exit_status: u32 = 2, exited_at: Option<Timestamp> = 3 }
    ExecProcessRequest {
        id: String = 1, exec_id: String = 2, terminal: bool = 3, stdin: String = 4, stdout: String = 5, stderr: String = 6,
        spec: Option<Any> = 7
    }
    ResizePtyRequest { id: String = 1, exec_id: String = 2, width: u32 = 3, height: u32 = 4 }
    StateResponse {
        id: String = 1, bundle: String = 2, pid: u32 = 3, status: u32 = 4, stdin: String = 5, stdout: String = 6,
        stderr: String = 7, terminal: bool = 8, exit_status: u32 = 9, exited_at: Option<Timestamp> = 10, exec_id: String = 11
    }
    KillRequest { id: String = 1, exec_id: String = 2, signal: u32 = 3, all: bool = 4 }
    CloseIoRequest { id: String = 1, exec_id: String = 2, stdin: bool = 3 }
    PidsResponse { processes: Vec<ProcessInfo> = 1 }
    ProcessInfo { pid: u32 = 1, info: Option<Any> = 2 }
    /// `containerd.runc.v1.ProcessDetails`.
    ProcessDetails { exec_id: String = 1 }
    CheckpointTaskRequest { id: String = 1, path: String = 2, options: Option<Any> = 3 }
    UpdateTaskRequest { id: String = 1, resources: Option<Any> = 2, annotations: Vec<Pair> = 3 }
    WaitResponse { exit_status: u32 = 1, exited_at: Option<Timestamp> = 2 }
    StatsResponse { stats: Option<Any> = 1 }
    ConnectResponse { shim_pid: u32 = 1, task_pid: u32 = 2, version: String = 3 }
    ShutdownRequest { id: String = 1, now: bool = 2 }

    /// `containerd.services.events.ttrpc.v1.ForwardRequest`.
    ForwardRequest { envelope: Option<Envelope> = 1 }
    /// An event on its way.
    Envelope { timestamp: Option<Timestamp> = 1, namespace: String = 2, topic: String = 3, event: Option<Any> = 4 }
    TaskCreate {
        container_id: String = 1, bundle: String = 2, rootfs: Vec<Mount> = 3, io: Option<TaskIo> = 4, checkpoint: String = 5,
        pid: u32 = 6
    }
    TaskIo { stdin: String = 1, stdout: String = 2, stderr: String = 3, terminal: bool = 4 }
    TaskCheckpointed { container_id: String = 1, checkpoint: String = 2 }
    TaskStart { container_id: String = 1, pid: u32 = 2 }
    TaskDelete { container_id: String = 1, pid: u32 = 2, exit_status: u32 = 3, exited_at: Option<Timestamp> = 4, id: String = 5 }
    TaskExit { container_id: String = 1, id: String = 2, pid: u32 = 3, exit_status: u32 = 4, exited_at: Option<Timestamp> = 5 }
    /// Of a task as such: OOM, paused, resumed.
    TaskEvent { container_id: String = 1 }
    TaskExecAdded { container_id: String = 1, exec_id: String = 2 }
    TaskExecStarted { container_id: String = 1, exec_id: String = 2, pid: u32 = 3 }

    /// `containerd.runc.v1.Options`.
    RuncOptions {
        no_pivot_root: bool = 1, no_new_keyring: bool = 2, shim_cgroup: String = 3, io_uid: u32 = 4, io_gid: u32 = 5,
        binary_name: String = 6, root: String = 7, criu_path: String = 8, systemd_cgroup: bool = 9, criu_image_path: String = 10,
        criu_work_path: String = 11, task_api_address: String = 12, task_api_version: u32 = 13
    }
    /// `containerd.linux.runc.CreateOptions`, which containerd 1.6's ctr still sends.
    LinuxCreateOptions {
        no_pivot_root: bool = 1, open_tcp: bool = 2, external_unix_sockets: bool = 3, terminal: bool = 4, file_locks: bool = 5,
        empty_namespaces: Vec<String> = 6, cgroups_mode: String = 7, no_new_keyring: bool = 8, shim_cgroup: String = 9,
        io_uid: u32 = 10, io_gid: u32 = 11, criu_work_path: String = 12, criu_image_path: String = 13
    }
    /// `containerd.runc.v1.CheckpointOptions`.
    CheckpointOptions {
        exit: bool = 1, open_tcp: bool = 2, external_unix_sockets: bool = 3, terminal: bool = 4, file_locks: bool = 5,
        empty_namespaces: Vec<String> = 6, cgroups_mode: String = 7, image_path: String = 8, work_path: String = 9
    }
    /// `containerd.linux.runc.CheckpointOptions`, in which the two paths have each other's numbers.
    LinuxCheckpointOptions {
        exit: bool = 1, open_tcp: bool = 2, external_unix_sockets: bool = 3, terminal: bool = 4, file_locks: bool = 5,
        empty_namespaces: Vec<String> = 6, cgroups_mode: String = 7, work_path: String = 8, image_path: String = 9
    }
    /// `runtimeoptions.v1.Options`, what the CRI plugin knows of a runtime that it does not know.
    RuntimeOptions { type_url: String = 1, config_path: String = 2, config_body: Vec<u8> = 3 }

    /// `containerd.types.RuntimeInfo`.
    RuntimeInfo {
        name: String = 1, version: Option<RuntimeVersion> = 2, options: Option<Any> = 3, features: Option<Any> = 4,
        annotations: Vec<Pair> = 5
    }
    RuntimeVersion { version: String = 1, revision: String = 2 }

    /// `containerd.runtime.bootstrap.v1.BootstrapParams`, on standard input since containerd 2.3.
    BootstrapParams {
        instance_id: String = 1, namespace: String = 2, log_level: i32 = 3, containerd_version: String = 4,
        containerd_ttrpc_address: String = 5, containerd_grpc_address: String = 6, containerd_binary: String = 7,
        extensions: Vec<Extension> = 8, socket_dir: String = 9
    }
    Extension { value: Option<Any> = 1 }
    /// The answer to it.
    BootstrapResult { version: i32 = 1, address: String = 2, protocol: String = 3 }

    /// `containerd.runtime.sandbox.v1`: what its requests have in common.
    SandboxRequest { sandbox_id: String = 1 }
    StartSandboxResponse { pid: u32 = 1, created_at: Option<Timestamp> = 2 }
    PlatformResponse { platform: Option<Platform> = 1 }
    Platform { os: String = 1, architecture: String = 2, variant: String = 3 }
    SandboxStatusResponse {
        sandbox_id: String = 1, pid: u32 = 2, state: String = 3, info: Vec<Pair> = 4, created_at: Option<Timestamp> = 5,
        exited_at: Option<Timestamp> = 6
    }
    /// Nothing.
    Empty {}
}

impl Any {
    /// A message by the name of its type.
    #[must_use]
    pub fn new(type_url: &str, value: Vec<u8>) -> Self {
        Self { type_url: type_url.to_owned(), value }
    }

    /// The name of its type: what follows the last slash, where there is one.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.type_url.rsplit('/').next().unwrap_or_default()
    }
}

impl CreateTaskRequest {
    /// The streams, as the client names them.
    #[must_use]
    pub fn stdio(&self) -> crate::stdio::Stdio {
        crate::stdio::Stdio {
            stdin: self.stdin.clone(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            terminal: self.terminal,
        }
    }
}

impl Timestamp {
    /// The time.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: i64::try_from(since.as_secs()).unwrap_or_default(),
            nanos: since.subsec_nanos().cast_signed(),
        }
    }
}
