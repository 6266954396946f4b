//! Files that earlier versions have written, one folder for each format: read for ever. Whoever raises a format adds a folder, written by
//! the version before.

use std::path::PathBuf;

use crate::backup::Backup;

use super::*;

/// Highest format of any file.
const NEWEST: u32 = 1;

fn folders() -> Vec<(u32, PathBuf)> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let folders = std::fs::read_dir(samples)
        .unwrap()
        .map(|f| f.unwrap().path());
    let number = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.strip_prefix("format-").unwrap().parse().unwrap()
    };
    let mut folders: Vec<(u32, PathBuf)> = folders.map(|path| (number(&path), path)).collect();
    folders.sort();
    folders
}

/// The files of a log, on a device that a test may change.
fn device(folder: &Path) -> Device {
    let device = Device::default();
    for file in std::fs::read_dir(folder.join("raft")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        device
            .replace(&name, &std::fs::read(file.path()).unwrap())
            .unwrap();
    }
    device
}

#[test]
fn there_is_a_sample_of_every_format() {
    let have: Vec<u32> = folders().into_iter().map(|(format, _)| format).collect();
    assert_eq!(have, (1..=NEWEST).collect::<Vec<_>>());
    let known = [
        Format::NEWEST.0,
        sealed::FORMAT,
        log::FORMAT,
        crate::backup::FORMAT,
    ];
    // A format that is only rehearsed leaves none.
    let rehearsed = u32::from(cfg!(feature = "next-format"));
    let newest = known.into_iter().max().unwrap();
    assert_eq!(newest, NEWEST + rehearsed, "add a sample");
}

/// Snapshot, then entries behind it, then a vote: an app, restarted and scaled, and an upstream kept by hand.
#[tokio::test]
async fn every_log_is_read() {
    for (format, folder) in folders() {
        let device = device(&folder);
        let raft = start(Arc::new(device), Tuning::default()).await;
        let applied = raft.read(SOON).await.unwrap();
        let state = applied.state();
        assert_eq!(state.last_deployment, 3, "format {format}");
        let app = &state.apps[&"web".parse().unwrap()];
        assert_eq!(app.wanted.0, 2, "format {format}");
        assert_eq!(state.kept.living().count(), 1, "format {format}");
        assert!(raft.leadership().borrow().term > state.term);
        raft.shutdown(SOON).await;
    }
}

#[test]
fn every_backup_is_read() {
    for (format, folder) in folders() {
        let backup = Backup::read(&folder.join("backup")).unwrap();
        let counts = backup.counts();
        assert_eq!(
            (counts.apps, counts.deployments, counts.upstreams),
            (1, 3, 1)
        );
        assert!(backup.format <= format);
    }
}

/// One byte of each file is its format: a higher one is refused by name, whatever else may have changed.
#[tokio::test]
async fn what_a_later_version_wrote_is_refused_by_name() {
    let (_, folder) = folders().pop().unwrap();
    for name in device(&folder).list().unwrap() {
        let device = device(&folder);
        device.tamper(&name, |bytes| bytes[8] = 77);
        let refused = Raft::start_on(Arc::new(device), seat(), Tuning::default()).await;
        let told = refused.err().unwrap().to_string();
        assert!(
            told.contains(&name) && told.contains("is of format 77"),
            "{told}"
        );
    }
}

/// It stops instead of guessing, and does not start again before the newer version does.
#[tokio::test]
async fn an_entry_of_the_next_version_is_not_guessed() {
    let device = Device::default();
    let raft = start(Arc::new(device.clone()), Tuning::default()).await;
    raft.propose(init(), SOON).await.unwrap();
    let mut next = Write::new(Format::NEWEST, started(2), None);
    next.v = next.v.next();
    assert!(
        raft.library.client_write(next).await.is_err(),
        "not applied"
    );
    raft.library.shutdown().await.unwrap();
    raft.log.close().await;
    let refused = Raft::start_on(Arc::new(device), seat(), Tuning::default()).await;
    let told = refused.err().unwrap().to_string();
    let newer = Format::NEWEST.next();
    assert!(told.contains(&format!("is of format {newer}")), "{told}");
}
