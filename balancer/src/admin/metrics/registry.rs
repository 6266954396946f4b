//! How a registry that is followed stands.

use hancock_registry::feed::View;

use super::Page;

/// Families are there from the start, also while the registry does not answer.
pub(super) fn page(page: &mut Page, view: &View) {
    let mut gauge = |name: &str, help: &str, value: String| {
        page.family(name, "gauge", help).sample(&[], value);
    };
    gauge(
        "hancock_registry_connected",
        "Whether the registry answers.",
        u8::from(view.connected).to_string(),
    );
    gauge(
        "hancock_registry_revision",
        "Everything up to this revision was applied; 0: nothing was heard since the start.",
        view.revision.unwrap_or_default().to_string(),
    );
    gauge(
        "hancock_registry_age_seconds",
        "Time since the registry was last heard of; -1: not since the start.",
        view.age_ms
            .map_or("-1".to_owned(), |ms| (ms as f64 / 1000.0).to_string()),
    );
    gauge(
        "hancock_registry_services",
        "Services whose documents are the registry's.",
        view.services.to_string(),
    );
    gauge(
        "hancock_registry_orphaned",
        "Services kept although the last list lacks them, because that list proves nothing.",
        view.orphaned.to_string(),
    );
    gauge(
        "hancock_registry_unserved",
        "Services whose newest document is refused.",
        view.refused.len().to_string(),
    );
    for (name, help, count) in [
        (
            "hancock_registry_lists_total",
            "Times everything was listed.",
            view.lists,
        ),
        (
            "hancock_registry_applied_total",
            "Documents of the registry handed on to be served.",
            view.applied,
        ),
        (
            "hancock_registry_rejections_total",
            "Documents of the registry that were refused.",
            view.rejections,
        ),
        (
            "hancock_registry_errors_total",
            "Times the registry did not answer.",
            view.errors,
        ),
    ] {
        page.family(name, "counter", help).sample(&[], count);
    }
}
