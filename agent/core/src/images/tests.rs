//! What goes and what stays, as a table.

#![allow(clippy::unwrap_used)]

use hancock_proto::assignment::Desired;

use super::*;
use crate::reconcile::samples::{assigned, assignment, id};

/// An assignment with one instance of `web` at a version, made of `web:<version>`.
fn running(version: u64) -> Assignment {
    let mut one = assigned(20_000, Desired::Running);
    one.version = Version(version);
    one.run.image = Some(format!("web:{version}"));
    assignment([(id(version), one)].into())
}

fn image(name: &str, used: bool) -> Image {
    Image {
        names: [name.to_owned()].into(),
        used,
        ..Image::default()
    }
}

/// Five versions were here one after the other; a stranger's image is beside them.
fn shelf() -> (Shelf, Vec<Image>) {
    let mut shelf = Shelf::default();
    for version in 1..=5 {
        shelf.note(&running(version));
    }
    let mut there: Vec<_> = (1..=5)
        .map(|v| image(&format!("web:{v}"), v == 5))
        .collect();
    there.push(image("theirs:1", false));
    (shelf, there)
}

#[test]
fn the_newest_versions_stay_and_nobody_elses_image_goes() {
    let (shelf, there) = shelf();
    let gone = |keep, full| shelf.removals(&there, &running(5), keep, full);
    assert_eq!(gone(2, false), ["web:3", "web:2", "web:1"]);
    assert_eq!(gone(4, false), ["web:1"]);
    assert_eq!(gone(9, false), [""; 0]);
}

#[test]
fn an_image_has_a_name_and_a_digest_and_both_go_with_its_version() {
    let of = |version: u64| {
        let mut all = running(version);
        for one in all.instances.values_mut() {
            one.run.image = Some("web:latest".to_owned());
            one.run.image_digest = Some(format!("sha256:{version}"));
        }
        all
    };
    let mut shelf = Shelf::default();
    (1..=4).for_each(|version| shelf.note(&of(version)));
    let exact = |v: u64| format!("web@sha256:{v}");
    let mut there: Vec<_> = (1..=3).map(|v| image(&exact(v), false)).collect();
    there.push(Image {
        names: ["web:latest".to_owned(), exact(4)].into(),
        used: true,
        ..Image::default()
    });
    let who = |image: &Image| users(image, &of(4)).len();
    assert_eq!((who(&there[3]), who(&there[0])), (1, 0));
    assert_eq!(
        shelf.removals(&there, &of(4), 2, false),
        [exact(2), exact(1)]
    );
}

#[test]
fn a_full_disk_takes_what_is_furthest_behind_and_never_what_is_in_use() {
    let (mut shelf, mut there) = shelf();
    let order = ["web:1", "web:2", "web:3", "web:4"];
    for next in order {
        assert_eq!(shelf.removals(&there, &running(5), 5, true), [next]);
        there.retain(|i| !i.names.contains(next));
        shelf.forget(next);
    }
    assert_eq!(shelf.removals(&there, &running(5), 5, true), [""; 0]);
    // Nothing runs it yet, but it is assigned.
    there[0].used = false;
    assert_eq!(shelf.removals(&there, &running(5), 0, true), [""; 0]);
}

#[test]
fn a_container_or_another_app_keeps_an_image() {
    let (mut shelf, mut there) = shelf();
    there[0].used = true;
    let mut other = running(1);
    let one = other.instances.values_mut().next().unwrap();
    (one.app, one.run.image) = ("other".parse().unwrap(), Some("web:2".to_owned()));
    shelf.note(&other);
    assert_eq!(shelf.removals(&there, &running(5), 2, false), ["web:3"]);
}

#[test]
fn an_image_with_two_names_is_kept_for_both() {
    let (mut shelf, mut there) = shelf();
    there[2].names.insert("web@sha256:33".to_owned());
    let mut by_digest = running(5);
    by_digest.instances.values_mut().next().unwrap().run.image = Some("web@sha256:33".to_owned());
    shelf.note(&by_digest);
    let gone = shelf.removals(&there, &by_digest, 1, false);
    assert!(!gone.contains(&"web:3".to_owned()), "{gone:?}");
}
