use std::sync::mpsc;
use std::time::Duration;

use super::*;

fn doc(port: u16) -> Arc<UpstreamDoc> {
    let json = format!(r#"{{"cluster":[{{"servers":[{{"host":"10.0.0.1","port":{port}}}]}}]}}"#);
    Arc::new(serde_json::from_str(&json).expect("a document"))
}

fn put(log: &mut Log, name: &str, doc: Option<Arc<UpstreamDoc>>) {
    log.write(&BTreeMap::from([(name.to_owned(), doc)]))
        .expect("written");
}

#[test]
fn what_was_written_is_there_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path()).expect("opened");
    put(&mut log, "a", Some(doc(1)));
    put(&mut log, "b", Some(doc(2)));
    put(&mut log, "a", Some(doc(3)));
    put(&mut log, "b", None);
    drop(log);
    let log = Log::open(folder.path()).expect("opened again");
    assert_eq!(
        log.documents(),
        &Documents::from([("a".to_owned(), doc(3))])
    );
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_was_torn() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE);
    let mut log = Log::open(folder.path()).expect("opened");
    put(&mut log, "a", Some(doc(1)));
    let good = log.length as usize;
    put(&mut log, "a", Some(doc(2)));
    let bytes = std::fs::read(&path).expect("read");
    for length in good..bytes.len() {
        std::fs::write(&path, &bytes[..length]).expect("torn");
        let mut log = Log::open(folder.path()).expect("opened");
        assert_eq!(log.documents()["a"], doc(1), "torn at {length}");
        put(&mut log, "c", Some(doc(9)));
        let log = Log::open(folder.path()).expect("opened again");
        assert_eq!(log.documents().len(), 2, "torn at {length}");
    }
}

#[test]
fn a_line_damaged_in_the_middle_costs_only_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE);
    let mut log = Log::open(folder.path()).expect("opened");
    put(&mut log, "a", Some(doc(1)));
    let at = log.length as usize - 4;
    put(&mut log, "b", Some(doc(2)));
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("damaged");
    let log = Log::open(folder.path()).expect("opened");
    assert_eq!(
        log.documents(),
        &Documents::from([("b".to_owned(), doc(2))])
    );
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE), "hancock-last-good 2\n").expect("written");
    let error = Log::open(folder.path()).err().expect("refused");
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[test]
fn compaction_keeps_what_is_good() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path()).expect("opened");
    for port in 1..200 {
        put(&mut log, "a", Some(doc(port)));
    }
    let before = log.length;
    log.compact().expect("compacted");
    assert!(log.length < before / 50);
    put(&mut log, "b", Some(doc(7)));
    let log = Log::open(folder.path()).expect("opened");
    assert_eq!(log.documents().len(), 2);
    assert_eq!(log.documents()["a"], doc(199));
}

#[test]
fn the_writer_tells_when_a_change_is_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tx, told) = mpsc::sync_channel(16);
    let log = Log::open(folder.path()).expect("opened");
    let writer = Writer::start(log, move |name, seq| drop(tx.send((name.to_owned(), seq))))
        .expect("started");
    let seq = writer.write("a", Some(doc(1)));
    let first = told
        .recv_timeout(Duration::from_secs(5))
        .expect("durable in time");
    assert_eq!(first, ("a".to_owned(), seq));
    writer.write("a", Some(doc(2)));
    writer.close();
    assert_eq!(
        Log::open(folder.path()).expect("opened").documents()["a"],
        doc(2)
    );
}

#[test]
fn a_change_that_cannot_be_written_is_never_called_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tx, told) = mpsc::sync_channel(16);
    let mut log = Log::open(folder.path()).expect("opened");
    let full = OpenOptions::new().append(true).open("/dev/full");
    log.file = full.expect("a disk without room");
    let writer = Writer::start(log, move |name, seq| drop(tx.send((name.to_owned(), seq))))
        .expect("started");
    writer.write("a", Some(doc(1)));
    writer.close();
    assert!(told.recv().is_err(), "the thread ended without a word");
}
