use hancock_master_core::{Command, State};
use hancock_proto::time::Timestamp;
use proptest::prelude::*;

use super::*;

fn applied() -> Applied {
    let mut state = State::new();
    let cluster: ClusterId = "c".parse().unwrap();
    let at = Timestamp(5);
    state.apply(LogIndex(1), Term(1), &Command::Init { cluster, at });
    let leader = "m".repeat(2 * PIECE + 10);
    let (term, at) = (Term(3), Timestamp(6));
    state.apply(
        LogIndex(2),
        term,
        &Command::TermStarted { term, leader, at },
    );
    Applied::of(state)
}

fn head() -> Head {
    Head {
        cluster: "c".parse().unwrap(),
        index: LogIndex(2),
        term: Term(3),
        at: Timestamp(7),
        version: "0.1.0".to_owned(),
    }
}

fn credentials() -> Credentials {
    Credentials::draw(None).unwrap()
}

fn file() -> Vec<u8> {
    let pieces = pieces(&head(), &applied(), Some(&credentials())).unwrap();
    pieces.collect::<Vec<_>>().concat()
}

fn fault(bytes: &[u8]) -> Fault {
    match Backup::parse(bytes).err().unwrap() {
        Unread::Fault(fault) => fault,
        Unread::Newer { found, .. } => panic!("format {found}"),
    }
}

#[test]
fn what_is_saved_reads_back() {
    let secrets = credentials();
    let pieces = pieces(&head(), &applied(), Some(&secrets)).unwrap();
    let pieces: Vec<Bytes> = pieces.collect();
    assert_eq!(pieces.len(), 5, "head, three pieces of the state, end");
    let read = Backup::parse(&pieces.concat()).ok().unwrap();
    assert_eq!((read.head, read.format), (head(), 1));
    assert!(read.applied.state() == applied().state());
    assert!(read.credentials == Some(secrets));
}

#[test]
fn every_cut_and_every_changed_byte_is_refused_where_it_is() {
    let file = file();
    for length in (0..file.len()).step_by(997).chain([file.len() - 1]) {
        let fault = fault(&file[..length]);
        assert!(fault.offset <= length as u64, "{fault:?}");
    }
    for at in (12..file.len()).step_by(991) {
        let mut bad = file.clone();
        bad[at] ^= 0x20;
        let Fault { offset, what } = fault(&bad);
        // The block it is in begins at most a piece before.
        let within = (at + 1).saturating_sub(PIECE + blocks::HEADER)..=at;
        let offset = usize::try_from(offset).unwrap();
        assert!(within.contains(&offset), "{at}: {offset} {what}");
    }
    let more = [&file[..], b"x"].concat();
    assert_eq!(fault(&more).offset, file.len() as u64);
}

#[test]
fn blocks_that_are_missing_or_swapped_are_noticed() {
    let pieces = pieces(&head(), &applied(), None).unwrap();
    let pieces: Vec<Bytes> = pieces.collect();
    let mut fewer = pieces.clone();
    fewer.remove(2);
    assert!(fault(&fewer.concat()).what.contains("missing"));
    let mut swapped = pieces;
    swapped.swap(1, 2);
    assert!(fault(&swapped.concat()).what.contains("another order"));
}

#[test]
fn a_file_is_refused_by_name_offset_and_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let told = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Backup::read(&path).err().unwrap().to_string()
    };
    let mut bytes = file();
    let cut = told(&bytes[..40]);
    assert!(
        cut.contains("backup is damaged at byte 12") && cut.contains("cut off"),
        "{cut}"
    );
    bytes[8] = 2;
    let newer = told(&bytes);
    assert!(
        newer.contains("of format 2") && newer.contains("up to 1"),
        "{newer}"
    );
    std::fs::remove_file(&path).unwrap();
    let missing = Backup::read(&path).err().unwrap().to_string();
    assert!(missing.contains("cannot read the snapshot"), "{missing}");
}

proptest! {
    #[test]
    fn no_garbage_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), whole in any::<bool>()) {
        let begun = [&blocks::begin()[..], &bytes].concat();
        drop(Backup::parse(if whole { &begun } else { &bytes }));
    }
}
