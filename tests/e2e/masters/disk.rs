//! A master's disk is full, and then no longer.

use hancock_testkit::tmpfs::Tmpfs;
use hancock_testkit::wait::wait_for;

use super::cluster::{Cluster, LATE, web};

#[test]
fn a_full_disk_is_told_and_waited_out() {
    let mut disk = None;
    let mut cluster = Cluster::start_on(1, |path| disk = Tmpfs::mount(path, 4096));
    let Some(disk) = disk else { return };
    let put = |cluster: &Cluster, app: &str| {
        cluster.send(0, "PUT", &format!("/v1/apps/{app}"), None, &web(app))
    };
    assert_eq!(put(&cluster, "first").unwrap().status, 200);
    disk.fill();
    let refused = wait_for("the disk's end", LATE, || match put(&cluster, "second") {
        Ok(answer) if answer.body.contains("disk_full") => Ok(answer),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("make room"), "{refused:?}");
    let status = cluster.get(0, "/v1/status").unwrap();
    assert!(status.body.contains("\"trouble\":"), "{status:?}");
    let shown = cluster.ask(&["status"]).ok();
    assert!(shown.contains("there is no room for"), "{shown}");
    disk.empty();
    wait_for("room", LATE, || match put(&cluster, "third") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.crash(0);
    cluster.spawn(0);
    cluster.leader();
    let apps = wait_for("the apps", LATE, || cluster.get(0, "/v1/apps")).body;
    assert!(apps.contains("first") && apps.contains("third"), "{apps}");
    let status = cluster.get(0, "/v1/status").unwrap();
    assert!(!status.body.contains("\"trouble\":"), "{status:?}");
}
