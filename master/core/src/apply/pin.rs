//! One version, one image: what its name stood for when the first node had it, whatever the name stands for later or elsewhere.

use hancock_proto::app::image::{digest as own_digest, is_digest};
use hancock_proto::event::Level;
use hancock_proto::report::InstanceReport;

use super::step::{About, Step};
use crate::state::{AppVersion, Instance, Stage};

/// Takes in what an instance is made of: the first of its version that is made of anything decides for all of them, once.
pub(super) fn image(step: &mut Step<'_>, instance: &Instance, facts: &InstanceReport) {
    let Some(digest) = facts.image_digest.as_ref().filter(|d| is_digest(d)) else {
        return;
    };
    let app = step.state.apps.get(&instance.app);
    let version = app.and_then(|a| a.versions.get(&instance.version));
    if version.is_some_and(is_open) {
        pin(step, instance, digest);
    }
    confirm(step, instance, digest);
}

/// Remembers of one that does not serve yet that it is made of the right image.
fn confirm(step: &mut Step<'_>, instance: &Instance, digest: &str) {
    let app = step.state.apps.get(&instance.app);
    let version = app.and_then(|a| a.versions.get(&instance.version));
    let right = version.is_some_and(|v| v.image_digest.as_deref() == Some(digest));
    if right && instance.stage == Stage::Starting && !instance.image_confirmed {
        step.edit_instance(&instance.id, |i| i.image_confirmed = true);
    }
}

/// Whether nothing says yet which image it is.
fn is_open(version: &AppVersion) -> bool {
    let image = version.spec.image.as_ref();
    version.image_digest.is_none() && image.is_some_and(|name| own_digest(name).is_none())
}

fn pin(step: &mut Step<'_>, first: &Instance, digest: &str) {
    let (name, version) = (&first.app, first.version);
    step.edit_app(name, |app| {
        if let Some(version) = app.versions.get_mut(&version) {
            version.image_digest = Some(digest.to_owned());
        }
    });
    tell_nodes(step, first);
    let about = About {
        app: Some(name),
        node: Some(&first.node),
        ..About::default()
    };
    let message = format!("version {version} of app {name} is made of {digest}");
    step.event(Level::Info, "image_resolved", about, message);
}

/// The assignments of all its instances have changed.
fn tell_nodes(step: &mut Step<'_>, first: &Instance) {
    let ids = step.state.apps.get(&first.app).map(|a| a.instances.clone());
    for id in ids.unwrap_or_default() {
        let known = step.state.instances.get(&id);
        if known.is_some_and(|i| i.version == first.version) {
            step.edit_instance(&id, |_| ());
        }
    }
}
