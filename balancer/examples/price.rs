//! What the core does for every request, timed piece by piece: CPU-seconds per 100,000. Run by `tests/bench/features`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use hancock_balancer_core::head::{Chunks, Scanner};
use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::peer::Ticket;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::Upstream;
use hancock_proto::time::Timestamp;

const RUNS: u32 = 20;
const TIMES: u32 = 50_000;
const SMALL: &[u8] = b"GET /small HTTP/1.1\r\nHost: bench.localhost\r\nUser-Agent: bench\r\n\r\n";
const BROWSER: &[u8] = b"GET /small HTTP/1.1\r\nHost: bench.localhost\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nCache-Control: max-age=0\r\n\
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\nDNT: 1\r\nUpgrade-Insecure-Requests: 1\r\n\
Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nReferer: http://bench.localhost/before\r\n\r\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    price("strict reading of a small head", || {
        black_box(Scanner::default().scan(black_box(SMALL)).is_ok());
    });
    price("strict reading of a browser's head", || {
        black_box(Scanner::default().scan(black_box(BROWSER)).is_ok());
    });
    let chunk = [b"1000\r\n".as_slice(), &[b'x'; 4096], b"\r\n"].concat();
    let body = chunk.repeat(16);
    price("strict reading of a body of 16 chunks, 64 KiB", || {
        black_box(Chunks::default().pass(black_box(&body)).is_ok());
    });
    let document = r#"{"servers":[{"host":"127.0.0.1","port":1},{"host":"127.0.0.1","port":2},
        {"host":"127.0.0.1","port":3},{"host":"127.0.0.1","port":4}]}"#;
    let upstream = Upstream::new("web", Arc::new(serde_json::from_str(document)?))?;
    let view = View::new(&upstream, &mut Peers::default());
    let key = RequestKey {
        target: b"/small",
        client: None,
        header: None,
    };
    price("picking one of 4 peers", || {
        black_box(pick::pick(&view, &key, &Tried::default(), Timestamp(1), 0));
    });
    let peer = view.entries()[0].peer.clone();
    price("counting a request on its peer", || {
        drop(black_box(Ticket::new(peer.clone())));
    });
    Ok(())
}

/// The fastest of several runs: others may have been on the same core in the rest.
fn price(what: &str, mut deed: impl FnMut()) {
    let mut run = || {
        let began = Instant::now();
        (0..TIMES).for_each(|_| deed());
        began.elapsed().as_secs_f64() / f64::from(TIMES)
    };
    let each = (0..RUNS).map(|_| run()).fold(f64::MAX, f64::min);
    println!("  {:<46} {:.4}   ({:.0} ns)", what, each * 1e5, each * 1e9);
}
