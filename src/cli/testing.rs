//! What tests of several commands need: a scripted master and views to show.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use hancock_proto::api::{DeploymentView, InstanceView};
use serde_json::json;

/// A server that answers every connection with the next of `answers`, then ends; gives its address.
pub fn server(answers: Vec<(u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    url
}

/// Instance `id` of `web` on `n1`.
pub fn instance(id: &str, life: &str) -> InstanceView {
    let value = json!({
        "id": id, "app": "web", "version": 2, "node": "n1", "address": "127.0.0.1:20001", "life": life, "since": 0,
        "ready": null, "routed": false, "draining": false, "unknown": false, "restarts": 0,
    });
    serde_json::from_value(value).unwrap()
}

/// Deployment 7 of `web`.
pub fn view(phase: &str, new: Vec<InstanceView>) -> DeploymentView {
    let value = json!({
        "id": 7, "app": "web", "version": 2, "phase": phase, "done": false, "ok": false, "reason": "",
        "started": 0, "new": [], "old": [], "index": 1,
    });
    let view: DeploymentView = serde_json::from_value(value).unwrap();
    DeploymentView { new, ..view }
}
