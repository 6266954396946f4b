//! `hancock image list`: what is on nodes.

use std::process::ExitCode;

use hancock_proto::app::image::digest as name_digest;
use hancock_proto::ask::{ImageUse, NodeImage};
use hancock_proto::ids::NodeId;
use serde::Serialize;

use crate::cli::Context;
use crate::cli::args::{age, bytes};
use crate::cli::out::Out;
use crate::cli::table::{Cell, Table};

/// Digits of a digest that are shown; enough to tell two apart.
const DIGITS: usize = 12;

/// An image with its place.
#[derive(Debug, Serialize)]
struct Found {
    node: NodeId,
    #[serde(flatten)]
    image: NodeImage,
}

pub(super) async fn run(context: &Context, node: Option<&NodeId>) -> anyhow::Result<ExitCode> {
    let nodes = match node {
        Some(node) => vec![node.clone()],
        None => {
            // Of those not heard of nothing can be known; `node list` tells which they are.
            let all = super::nodes(context).await?.into_iter();
            let alive = all.filter(|node| node.state == "alive");
            alive.map(|node| node.info.node).collect()
        }
    };
    let mut found = Vec::new();
    for node in nodes {
        let images = context.client.images(&node).await?;
        found.extend(images.into_iter().map(|image| Found {
            node: node.clone(),
            image,
        }));
    }
    let out = &context.out;
    out.print(&found, |found| text(found, out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(found: &[Found], out: &Out) -> String {
    if found.is_empty() {
        return "no images\n".to_owned();
    }
    let mut table = Table::new(&["NODE", "IMAGE", "DIGEST", "SIZE", "AGE", "USED BY"]);
    for Found { node, image } in found {
        table.row([
            Cell::from(node),
            name(image).into(),
            digest(image).into(),
            bytes(image.size).into(),
            age(image.created).into(),
            users(image).into(),
        ]);
    }
    table.render(out)
}

/// By its tags; one that was fetched by its digest has none.
fn name(image: &NodeImage) -> String {
    match (image.tags.as_slice(), image.digests.first()) {
        ([], Some(digest)) => digest.split('@').next().unwrap_or_default().to_owned(),
        ([], None) => "-".to_owned(),
        (tags, _) => tags.join(", "),
    }
}

fn digest(image: &NodeImage) -> String {
    let first = image.digests.first().and_then(|name| name_digest(name));
    let Some(digest) = first else {
        return "none".to_owned();
    };
    let digits = digest.find(':').map_or(DIGITS, |at| at + 1 + DIGITS);
    digest.chars().take(digits).collect()
}

fn users(image: &NodeImage) -> String {
    let each = |u: &ImageUse| format!("{} {}", u.app, u.version);
    match (image.apps.as_slice(), image.used) {
        ([], false) => String::new(),
        ([], true) => "a container".to_owned(),
        (apps, _) => apps.iter().map(each).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::ids::Version;

    use super::*;

    #[test]
    fn an_image_is_a_line() {
        let image = NodeImage {
            id: "sha256:1".to_owned(),
            tags: vec!["web:1".to_owned(), "web:latest".to_owned()],
            digests: vec![format!("web@sha256:{}", "0123456789abcdef".repeat(4))],
            size: 64 << 20,
            created: crate::cli::args::now(),
            used: true,
            apps: vec![ImageUse {
                app: "web".parse().unwrap(),
                version: Version(3),
            }],
        };
        let bare = NodeImage {
            tags: Vec::new(),
            digests: Vec::new(),
            apps: Vec::new(),
            ..image.clone()
        };
        let found = [image, bare].map(|image| Found {
            node: "n1".parse().unwrap(),
            image,
        });
        let text = text(&found, &Out::narrow(200));
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("web:1, web:latest   sha256:0123456789ab   64 MiB"),
            "{text}"
        );
        assert!(
            lines[1].ends_with("web 3") && lines[2].ends_with("a container"),
            "{text}"
        );
    }
}
