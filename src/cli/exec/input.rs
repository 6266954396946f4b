//! Standard input, read by a thread of its own: a read that waits for a key cannot be taken back, and must not keep the program from ending.

use std::io::Read;
use std::thread;

use hancock_proto::exec::MAX_PIECE;
use tokio::sync::mpsc;

/// Pieces read ahead.
const AHEAD: usize = 2;

/// Pieces as they come; their end is the end of the input.
pub(super) fn begin() -> mpsc::Receiver<Vec<u8>> {
    let (send, pieces) = mpsc::channel(AHEAD);
    thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut data = vec![0; MAX_PIECE];
        while let Ok(n) = input.read(&mut data) {
            if n == 0 || send.blocking_send(data[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    pieces
}
