//! The agents' side of a master.
use hancock_wire::hub_server::Hub;
use hancock_wire::{AgentFrame, HubFrame};
use tonic::{Request, Response, Status, Streaming};
/// The gRPC service agents call.
#[derive(Clone)]
pub struct Service {}
#[tonic::async_trait]
impl Hub for Service {
    type SessionStream = tokio_stream::wrappers::ReceiverStream<Result<HubFrame, Status>>;
    async fn session(
        &self,
        _r: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unavailable("starting"))
    }
}
