//! The load against servers that answer well, badly and not at all.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::{Cause, Load, Tally};

const ENOUGH: Duration = Duration::from_secs(20);

/// Serves every request of every connection with `answer`; `None` closes instead.
fn serve(answer: fn(u64) -> Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming().flatten()) {
            std::thread::spawn(move || answer_all(&stream, answer(number)));
        }
    });
    address
}

fn answer_all(stream: &TcpStream, answer: Option<&'static str>) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            let Some(answer) = answer else { return };
            if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn run(target: SocketAddr, requests: u64) -> Tally {
    let load = Load::to(target, "x.localhost").rate(200).start();
    load.wait_until("requests", ENOUGH, |t| t.ended >= requests);
    load.stop()
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nv1 hi";

#[test]
fn good_answers_are_counted_by_their_first_word() {
    let tally = run(serve(|_| Some(GOOD)), 60);
    tally.assert_none_failed();
    assert_eq!(tally.answered("v1"), tally.total());
    assert!(tally.fresh.abs_diff(tally.kept) <= 1 && tally.open() == 0);
}

#[test]
fn refused_requests_fail() {
    let port = crate::free_port();
    let tally = run(crate::port::local(port), 20);
    assert_eq!(tally.causes.get(&Cause::Refused), Some(&tally.total()));
}

#[test]
fn closing_without_an_answer_fails() {
    let tally = run(serve(|n| (n % 2 == 0).then_some(GOOD)), 60);
    assert!(
        tally.causes.keys().any(|c| matches!(c, Cause::Broken(_))),
        "{tally}"
    );
    assert!(tally.answered("v1") > 0, "{tally}");
}

#[test]
fn errors_half_answers_and_late_answers_fail() {
    let tally = run(
        serve(|_| Some("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")),
        20,
    );
    assert_eq!(tally.causes.get(&Cause::Status(502)), Some(&tally.total()));
    let tally = run(
        serve(|_| Some("HTTP/1.1 200 OK\r\nX-After-Sigterm: 1\r\nContent-Length: 2\r\n\r\nv1")),
        20,
    );
    assert_eq!(tally.causes.get(&Cause::AfterSigterm), Some(&tally.total()));
}
