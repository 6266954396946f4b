//! One request over one connection.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::DEADLINE;
use crate::described::{self, Exchange};

pub struct Reply {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Bytes,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {}", self.status, self.text()))
    }
}

pub async fn send(api: SocketAddr, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let body = body.map_or_else(Vec::new, |value| serde_json::to_vec(value).unwrap());
    send_bytes(api, method, path, body).await
}

pub async fn send_bytes(api: SocketAddr, method: &str, path: &str, body: Vec<u8>) -> Reply {
    let response = open(api, method, path, body.clone()).await;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let answered = tokio::time::timeout(DEADLINE, response.into_body().collect()).await;
    let answered = answered.unwrap().unwrap().to_bytes();
    described::check(&Exchange {
        method,
        path,
        asked: &body,
        status,
        headers: &headers,
        answered: &answered,
    });
    Reply {
        status,
        retry_after: headers
            .get("retry-after")
            .map(|v| v.to_str().unwrap().to_owned()),
        body: answered,
    }
}

/// The response with its body still coming.
pub async fn open(
    api: SocketAddr,
    method: &str,
    path: &str,
    body: Vec<u8>,
) -> hyper::Response<Incoming> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = hyper::Request::builder()
        .method(method)
        .uri(format!("http://{api}{path}"))
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let response = tokio::time::timeout(DEADLINE, client.request(request)).await;
    response.expect("an answer in time").unwrap()
}

pub async fn get<T: DeserializeOwned>(api: SocketAddr, path: &str) -> T {
    let reply = send(api, "GET", path, None).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}
