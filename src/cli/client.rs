//! The master's REST API as functions. Every wait has a deadline; every error names the address and the way out.

mod error;
mod exec;
mod logs;
mod orphans;
mod snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hancock_proto::api::{
    AddServerRequest, ApiError, AppDetail, AppSummary, ApplyReply, DeleteUpstreamRequest,
    DeploymentView, InstanceView, MasterView, NodeView, PlanReply, PullRequest, RegistryRequest,
    RegistryView, RollbackRequest, ScaleRequest, SignalRequest, StatusView, TopLine, UpstreamView,
    VersionInfo, ZoneView,
};
use hancock_proto::app::AppSpec;
use hancock_proto::ask::{NodeImage, Pull};
use hancock_proto::event::Event;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId, LogIndex, NodeId, Version, ZoneName};
use hancock_proto::registry::RegistryUrl;
use hancock_proto::service::ServiceName;
use hancock_proto::zone::Zone;
use hancock_tls::Pin;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub use error::ClientError;
pub use exec::Socket;
pub use logs::LogQuery;
pub use orphans::Part;

/// Where `hancock dev` serves the API.
pub const DEFAULT_MASTER: &str = "http://127.0.0.1:7400";
/// Where a master of a cluster with certificates does.
pub const DEFAULT_ENCRYPTED: &str = "https://127.0.0.1:7400";

/// Time to open a connection: a master is near or it is not there.
const CONNECT: Duration = Duration::from_secs(3);
/// Time a request may take beyond what it asked the master to wait.
const ANSWER: Duration = Duration::from_secs(30);
/// How long "there is no leader just now" is waited out: longer than an election, shorter than patience.
const ELECTION: Duration = Duration::from_secs(5);
/// Time between two tries while there is no leader.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time between two tries while masters have too much in hand; it doubles until then.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Longest one of several masters may take beyond what it was asked to wait: then the next one is asked.
const ANSWER_OF_ONE: Duration = Duration::from_secs(10);

/// One master, or several of a cluster, reached over HTTP.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Never empty.
    bases: Vec<Url>,
    /// Who is asked just now; the next one is as soon as that one does not answer.
    turn: Arc<AtomicUsize>,
    token: Option<String>,
}

/// What a master answered.
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

impl Client {
    /// A client of the master at `url`, like `http://127.0.0.1:7400`, or of several with commas between them.
    ///
    /// # Errors
    /// `url` is not an HTTP address.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let http = builder().build();
        Ok(Self {
            http: http.map_err(|e| ClientError::address(url, &e))?,
            bases: error::parse_addresses(url)?,
            turn: Arc::default(),
            token: None,
        })
    }

    /// Shows `token` with every request: one with a fingerprint only to masters of its cluster, over TLS.
    ///
    /// # Errors
    /// The token has a fingerprint, and the master's address is not an encrypted one.
    pub fn showing(self, token: Option<String>) -> Result<Self, ClientError> {
        let Some(pin) = token.as_deref().and_then(Pin::of_token) else {
            return Ok(Self { token, ..self });
        };
        if let Some(plain) = self.bases.iter().find(|base| base.scheme() != "https") {
            let url = plain.as_str().trim_end_matches('/').to_owned();
            return Err(ClientError::NotEncrypted { url });
        }
        let unusable = |e: &dyn std::error::Error| ClientError::address(&self.url(), &e);
        let tls = hancock_tls::pinned(pin, hancock_tls::HTTP).map_err(|e| unusable(&e))?;
        let http = builder().tls_backend_preconfigured(tls).build();
        let http = http.map_err(|e| unusable(&e))?;
        Ok(Self {
            http,
            token,
            ..self
        })
    }

    /// How many milliseconds the master's clock is ahead of this machine's, to the second an answer tells. Any answer does.
    ///
    /// # Errors
    /// No master answers, or it does not say the time.
    pub async fn ahead(&self) -> Result<i64, ClientError> {
        let url = self.bases[0].clone();
        let begun = super::args::now();
        let asked = self.http.get(url.clone()).timeout(CONNECT).send().await;
        let answer = asked.map_err(|e| ClientError::unreachable(url.to_string(), e))?;
        let ended = super::args::now();
        let date = answer.headers().get(reqwest::header::DATE);
        let date = date.and_then(|date| date.to_str().ok()).unwrap_or_default();
        error::ahead(date, begun, ended).ok_or_else(|| ClientError::Reply {
            url: url.to_string(),
            reason: "it does not say the time".to_owned(),
        })
    }

    /// What applying `spec` would do.
    ///
    /// # Errors
    /// As all of these: the master cannot be reached, or refuses.
    pub async fn plan(&self, spec: &AppSpec) -> Result<PlanReply, ClientError> {
        self.send(Method::POST, "/v1/plan", Some(spec)).await
    }

    /// Asks for `spec`.
    pub async fn apply(&self, spec: &AppSpec) -> Result<ApplyReply, ClientError> {
        let path = format!("/v1/apps/{}", spec.app);
        self.send(Method::PUT, &path, Some(spec)).await
    }

    /// All apps.
    pub async fn apps(&self) -> Result<Vec<AppSummary>, ClientError> {
        self.get("/v1/apps").await
    }

    /// One app; `None`: there is no such app.
    pub async fn app(&self, app: &str) -> Result<Option<AppDetail>, ClientError> {
        match self.get(&format!("/v1/apps/{app}")).await {
            Ok(detail) => Ok(Some(detail)),
            Err(ClientError::Refused(e)) if e.code == "app_not_found" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One app; an unknown one is an error.
    pub async fn existing_app(&self, app: &AppName) -> Result<AppDetail, ClientError> {
        self.get(&format!("/v1/apps/{app}")).await
    }

    /// Versions of an app.
    pub async fn history(&self, app: &AppName) -> Result<Vec<VersionInfo>, ClientError> {
        self.get(&format!("/v1/apps/{app}/history")).await
    }

    /// Back to `version`, or to the newest good one before this.
    pub async fn rollback(
        &self,
        app: &AppName,
        version: Option<Version>,
    ) -> Result<ApplyReply, ClientError> {
        let path = format!("/v1/apps/{app}/rollback");
        let body = RollbackRequest { version };
        self.send(Method::POST, &path, Some(&body)).await
    }

    /// Changes the number of replicas.
    pub async fn scale(&self, app: &AppName, replicas: u32) -> Result<ApplyReply, ClientError> {
        let path = format!("/v1/apps/{app}/scale");
        let body = ScaleRequest { replicas };
        self.send(Method::POST, &path, Some(&body)).await
    }

    /// `restart`, `stop` or `start`.
    pub async fn app_deed(&self, app: &AppName, deed: &str) -> Result<ApplyReply, ClientError> {
        let path = format!("/v1/apps/{app}/{deed}");
        self.send(Method::POST, &path, None::<&()>).await
    }

    /// Deletes an app.
    pub async fn delete(&self, app: &AppName) -> Result<ApplyReply, ClientError> {
        let path = format!("/v1/apps/{app}");
        self.send(Method::DELETE, &path, None::<&()>).await
    }

    /// The newest deployment of an app.
    pub async fn app_deployment(&self, app: &AppName) -> Result<DeploymentView, ClientError> {
        self.get(&format!("/v1/apps/{app}/deployment")).await
    }

    /// A deployment as it is now.
    pub async fn deployment(&self, id: DeploymentId) -> Result<DeploymentView, ClientError> {
        self.get(&format!("/v1/deployments/{id}")).await
    }

    /// A deployment when it has changed after `after`, or as it is when `wait` is over.
    pub async fn deployment_after(
        &self,
        id: DeploymentId,
        after: LogIndex,
        wait: Duration,
    ) -> Result<DeploymentView, ClientError> {
        let path = format!(
            "/v1/deployments/{id}?after={after}&wait={}ms",
            wait.as_millis()
        );
        self.call(Method::GET, &path, None::<&()>, wait).await
    }

    /// Stops a deployment.
    pub async fn abort(&self, id: DeploymentId) -> Result<DeploymentView, ClientError> {
        let path = format!("/v1/deployments/{id}/abort");
        self.send(Method::POST, &path, None::<&()>).await
    }

    /// Instances, of one app or of all.
    pub async fn instances(&self, app: Option<&AppName>) -> Result<Vec<InstanceView>, ClientError> {
        let query = app.map(|app| format!("?app={app}")).unwrap_or_default();
        self.get(&format!("/v1/instances{query}")).await
    }

    /// Another instance in this one's place.
    pub async fn restart_instance(&self, id: &InstanceId) -> Result<ApplyReply, ClientError> {
        let path = format!("/v1/instances/{id}/restart");
        self.send(Method::POST, &path, None::<&()>).await
    }

    /// A signal for an instance.
    pub async fn signal_instance(&self, id: &InstanceId, signal: &str) -> Result<(), ClientError> {
        let path = format!("/v1/instances/{id}/signal");
        let signal = signal.to_owned();
        self.send(Method::POST, &path, Some(&SignalRequest { signal }))
            .await
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Vec<NodeView>, ClientError> {
        self.get("/v1/nodes").await
    }

    /// Images on a node.
    pub async fn images(&self, node: &NodeId) -> Result<Vec<NodeImage>, ClientError> {
        self.get(&format!("/v1/nodes/{node}/images")).await
    }

    /// Has a node fetch an image.
    pub async fn pull(&self, node: &NodeId, image: &str) -> Result<Pull, ClientError> {
        let path = format!("/v1/nodes/{node}/pull");
        let image = image.to_owned();
        self.send(Method::POST, &path, Some(&PullRequest { image }))
            .await
    }

    /// How far that is.
    pub async fn pulled(&self, node: &NodeId, image: &str) -> Result<Pull, ClientError> {
        self.get(&format!("/v1/nodes/{node}/pull?image={image}"))
            .await
    }

    /// Events after number `after`; waits up to `wait` for the first.
    pub async fn events(&self, after: u64, wait: Duration) -> Result<Vec<Event>, ClientError> {
        let path = format!("/v1/events?after={after}&wait={}ms", wait.as_millis());
        self.call(Method::GET, &path, None::<&()>, wait).await
    }

    /// All zones.
    pub async fn zones(&self) -> Result<Vec<ZoneView>, ClientError> {
        self.get("/v1/zones").await
    }

    /// Makes or changes a zone.
    pub async fn put_zone(&self, name: &ZoneName, zone: &Zone) -> Result<ZoneView, ClientError> {
        let path = format!("/v1/zones/{name}");
        self.send(Method::PUT, &path, Some(zone)).await
    }

    /// Deletes a zone.
    pub async fn delete_zone(&self, name: &ZoneName) -> Result<(), ClientError> {
        let path = format!("/v1/zones/{name}");
        self.send(Method::DELETE, &path, None::<&()>).await
    }

    /// The services of a zone.
    pub async fn upstreams(&self, zone: &ZoneName) -> Result<Vec<UpstreamView>, ClientError> {
        self.get(&format!("/v1/zones/{zone}/upstreams")).await
    }

    /// Adds a server to an upstream kept by hand.
    pub async fn add_server(
        &self,
        zone: &ZoneName,
        request: &AddServerRequest,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/zones/{zone}/upstreams");
        self.send(Method::POST, &path, Some(request)).await
    }

    /// Deletes an upstream kept by hand.
    pub async fn delete_upstream(
        &self,
        zone: &ZoneName,
        name: &ServiceName,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/zones/{zone}/upstreams");
        let name = name.clone();
        let body = DeleteUpstreamRequest { name };
        self.send(Method::DELETE, &path, Some(&body)).await
    }

    /// What goes on, in a zone or everywhere.
    pub async fn top(&self, zone: Option<&ZoneName>) -> Result<Vec<TopLine>, ClientError> {
        let query = zone.map(|zone| format!("?zone={zone}")).unwrap_or_default();
        self.get(&format!("/v1/top{query}")).await
    }

    /// Which registry is in force.
    pub async fn registry(&self) -> Result<RegistryView, ClientError> {
        self.get("/v1/registry").await
    }

    /// Chooses another one.
    pub async fn choose_registry(&self, url: &RegistryUrl) -> Result<RegistryView, ClientError> {
        let url = url.clone();
        let body = RegistryRequest { url };
        self.send(Method::PUT, "/v1/registry", Some(&body)).await
    }

    /// The masters.
    pub async fn masters(&self) -> Result<Vec<MasterView>, ClientError> {
        self.get("/v1/masters").await
    }

    /// Sends a master away; those who stay.
    pub async fn remove_master(&self, name: &str) -> Result<Vec<MasterView>, ClientError> {
        let path = format!("/v1/masters/{name}");
        self.send(Method::DELETE, &path, None::<&()>).await
    }

    /// Makes a master the leader.
    pub async fn transfer(&self, name: &str) -> Result<Vec<MasterView>, ClientError> {
        let path = format!("/v1/masters/{name}/transfer");
        self.send(Method::POST, &path, None::<&()>).await
    }

    /// How the cluster is.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.get("/v1/status").await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(Method::GET, path, None::<&()>).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        self.call(method, path, body, Duration::ZERO).await
    }

    /// One request, which the master may keep waiting for `wait`; tried again for a while when there is no leader, or one with too much in
    /// hand, and with the next master when one does not answer. Its key says that it is the same one, should the first have been carried out after all.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        wait: Duration,
    ) -> Result<T, ClientError> {
        let answer = self.answer(method, path, body, wait).await?;
        self.parsed(path, &answer)
    }

    /// As [`Self::call`], with the whole answer.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        wait: Duration,
    ) -> Result<Answer, ClientError> {
        let begun = Instant::now();
        let (give_up, busy_until) = (begun + ELECTION, begun + self.patience());
        let mut pause = PAUSE;
        let key = match method {
            Method::GET => None,
            _ => crate::boot::unique().ok(),
        };
        let mut silent = Vec::new();
        loop {
            let key = key.as_deref();
            let reply = self.try_call(method.clone(), path, body, key, wait + self.patience());
            match reply.await {
                Err(ClientError::NoLeader { .. }) if Instant::now() < give_up => {
                    silent.clear();
                    self.turn_to_next();
                    tokio::time::sleep(PAUSE).await;
                }
                Err(ClientError::Busy { .. }) if Instant::now() < busy_until => {
                    silent.clear();
                    self.turn_to_next();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error @ ClientError::Unreachable { .. }) => self.after(error, &mut silent)?,
                reply => return reply,
            }
        }
    }

    /// Turns to the next master, or gives up when all were `silent`.
    fn after(&self, error: ClientError, silent: &mut Vec<ClientError>) -> Result<(), ClientError> {
        silent.push(error);
        if silent.len() < self.bases.len() {
            self.turn_to_next();
            return Ok(());
        }
        Err(ClientError::all_unreachable(std::mem::take(silent)))
    }

    fn turn_to_next(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// Longest a master may take to answer.
    fn patience(&self) -> Duration {
        match self.bases.len() {
            1 => ANSWER,
            _ => ANSWER_OF_ONE,
        }
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        key: Option<&str>,
        deadline: Duration,
    ) -> Result<Answer, ClientError> {
        let mut request = self.request(method, path)?.timeout(deadline);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = self.opened(request).await?;
        let headers = response.headers().clone();
        let body = response.bytes().await.map_err(|e| self.unreachable(e))?;
        Ok(Answer { headers, body })
    }

    fn parsed<T: DeserializeOwned>(&self, path: &str, answer: &Answer) -> Result<T, ClientError> {
        let parsed = serde_json::from_slice(&answer.body);
        parsed.map_err(|e| self.unreadable(path, &e.to_string()))
    }

    fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, ClientError> {
        let url = self
            .base()
            .join(path.trim_start_matches('/'))
            .map_err(|e| ClientError::address(path, &e))?;
        let request = self.http.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    /// Sends and turns every status but success into an error.
    async fn opened(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|e| self.unreachable(e))?;
        Err(self.refusal(status, &body))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<ApiError>(body) {
            Ok(error) if error.code == "busy" => ClientError::Busy {
                url: self.url(),
                message: error.message,
            },
            Ok(error) if status == StatusCode::SERVICE_UNAVAILABLE => ClientError::NoLeader {
                url: self.url(),
                message: error.message,
            },
            Ok(error) => ClientError::Refused(error),
            Err(_) => {
                let start: String = String::from_utf8_lossy(body).chars().take(200).collect();
                let reason = match start.trim() {
                    page if page.is_empty() || page.starts_with('<') => format!("status {status}"),
                    text => format!("status {status} with {text:?}"),
                };
                self.unreadable("", &reason)
            }
        }
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::unreachable(self.url(), source)
    }

    fn late(&self) -> ClientError {
        ClientError::Unreachable {
            url: self.url(),
            reason: error::LATE.to_owned(),
        }
    }

    fn unreadable(&self, path: &str, reason: &str) -> ClientError {
        ClientError::Reply {
            url: format!("{}{path}", self.url()),
            reason: reason.to_owned(),
        }
    }

    /// Who is asked just now.
    fn base(&self) -> &Url {
        &self.bases[self.turn.load(Ordering::Relaxed) % self.bases.len()]
    }

    /// The address as people write it.
    fn url(&self) -> String {
        self.base().as_str().trim_end_matches('/').to_owned()
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        // The master is an address of our own; a proxy for the web has no part in reaching it.
        .no_proxy()
}

#[cfg(test)]
mod tests;
