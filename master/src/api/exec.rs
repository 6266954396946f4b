//! Commands inside instances, over a WebSocket.

use axum::response::Response;

use super::body::Instance;
use super::command::{self, Target, Upgrade};
use super::error::Failure;
use super::nodes::place;
use super::writer::Asker;

/// Runs a command inside an instance.
///
/// The connection becomes a WebSocket. The client's first text says what is to be run, like
/// `{"command": ["sh"], "stdin": true, "tty": {"columns": 80, "rows": 24}}` (without `tty`: no terminal), with `"user": "1000:1000"`,
/// `"workdir": "/srv"` and `"environment": {"KEY": "value"}` where the instance's own are not wanted. Later ones are
/// `{"type": "resize", "columns": 120, "rows": 40}` and `{"type": "input_end"}`; its binary messages, of at most 32 KiB, are input. The
/// master's texts are `{"type": "begun"}`, and as the last one `{"type": "ended", "code": 0}` or `{"type": "failed", "message": "…"}`; its
/// binary messages are output after a first byte that is 1 for standard output and 2 for standard error. The command ends with the connection.
#[utoipa::path(
    get,
    path = "/v1/instances/{instance}/exec",
    operation_id = "exec",
    tag = "cluster",
    params(Instance),
    responses((status = 101, description = "The connection is a WebSocket now."), (status = 404), (status = 409))
)]
pub(super) async fn exec(
    Asker(api): Asker,
    Instance(instance): Instance,
    upgrade: Upgrade,
) -> Result<Response, Failure> {
    let upgrade = command::spoken(upgrade)?;
    let node = place(&api, &instance).await?;
    let target = Target::Instance(node, instance);
    Ok(command::carried(api, upgrade, target))
}
