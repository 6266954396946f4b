//! The API's description in OpenAPI 3.1, made of what routes and types say about themselves.
//!
//! - **Data in**: all routes with their comments. **Data out**: one JSON document, the same for as long as the program runs.
//! - **Invariants**: what is routed is described; what is true of every operation stands in [`rules`] once.
//! - **Never**: keeps a list of paths of its own.

mod rules;
mod spec;

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::routes;
use hancock_proto::api::ApiError;
use hancock_proto::app::Problem;
use hancock_proto::{event, upstream};

/// What stands in front of the paths.
const ABOUT: &str = "The REST API of Hancock's masters. Any of several masters answers: what only the leader knows or may do is sent on to \
    it. A write that was answered is durable; a read sees every write answered before it. Spans of time are written \"10s\", \"150ms\", \
    \"5m\" or \"1h\", sizes \"256MiB\"; points in time are milliseconds since 1970-01-01 UTC.";
/// Name of the one way to show who asks.
const TOKEN: &str = "token";
/// Groups of operations, in the order people meet them.
const TAGS: [(&str, &str); 5] = [
    ("apps", "What owners wish and what became of it."),
    ("deployments", "Versions on their way in."),
    ("cluster", "Nodes, instances, events and the registry."),
    (
        "zones",
        "Named sets of nodes, and the upstreams kept by hand in them.",
    ),
    ("masters", "Who they are, who leads, who leaves."),
];

static TEXT: LazyLock<String> = LazyLock::new(|| written(&whole(routes().into_openapi())));

/// The description of the API as `GET /v1/openapi.json` answers it: OpenAPI 3.1 as JSON.
pub fn openapi() -> &'static str {
    &TEXT
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    operation_id = "openapi",
    tag = "cluster",
    responses((status = 200, body = Description))
)]
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

/// The description before any route is in it.
pub(super) fn head() -> OpenApi {
    let license = LicenseBuilder::new().name("Apache-2.0");
    let info = InfoBuilder::new()
        .title("Hancock")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license.identifier(Some("Apache-2.0")).build()));
    let tag = |(name, what): &(&str, &str)| {
        let tag = TagBuilder::new().name(*name);
        tag.description(Some(*what)).build()
    };
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "The operator's token, which `hancock master init` prints.",
        ));
    let components = ComponentsBuilder::new()
        .schema_from::<ApiError>()
        .schema_from::<Problem>()
        // Named by a schema that is written by hand.
        .schema_from::<upstream::Level>()
        .security_scheme(TOKEN, SecurityScheme::Http(bearer.build()));
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(TAGS.iter().map(tag)))
        .security(Some([SecurityRequirement::new(TOKEN, [""; 0])]))
        .components(Some(components.build()))
        .build()
}

fn whole(document: OpenApi) -> Value {
    // Of plain data, so there is nothing that could not be written.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    rules::complete(&mut document);
    let schemas = &mut document["components"]["schemas"];
    spec::loosen(schemas);
    // Not all there will ever be, so readers must bear others.
    schemas["Event"]["properties"]["kind"]["examples"] = json!(event::KINDS);
    document
}

fn written(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

/// The answer of what has nothing to tell.
pub(super) struct Nothing;

impl PartialSchema for Nothing {
    fn schema() -> RefOr<Schema> {
        let null = ObjectBuilder::new().schema_type(Type::Null);
        null.description(Some("Done; there is nothing to tell."))
            .into()
    }
}

impl ToSchema for Nothing {}

/// The file of a backup.
pub(super) struct Backup;

impl PartialSchema for Backup {
    fn schema() -> RefOr<Schema> {
        let bytes = ObjectBuilder::new().schema_type(Type::String);
        bytes
            .content_media_type("application/octet-stream")
            .description(Some("A file that `hancock snapshot restore` reads."))
            .into()
    }
}

impl ToSchema for Backup {}

/// An OpenAPI document.
pub(super) struct Description;

impl PartialSchema for Description {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(Type::Object);
        let member = |kind: Type| ObjectBuilder::new().schema_type(kind);
        object
            .description(Some("The description of this API in OpenAPI 3.1."))
            .property("openapi", member(Type::String))
            .property("paths", member(Type::Object))
            .required("openapi")
            .required("paths")
            .into()
    }
}

impl ToSchema for Description {}

#[cfg(test)]
mod tests {
    /// Whoever wants a route without a description has to change this test.
    #[test]
    fn all_routes_come_from_the_table_that_describes_them() {
        let source = include_str!("../api.rs");
        let lines = source.lines().map(str::trim);
        let plain: Vec<_> = lines
            .filter(|line| line.contains(".route(") || line.contains("_service("))
            .collect();
        assert!(plain.is_empty(), "routes without a description: {plain:?}");
    }
}
