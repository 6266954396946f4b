//! Load for TCP proxies: a source and echo behind them, clients in front. Only the standard library, so that a bench can build it alone.
//!
//! A client begins with eight bytes: how much it wants to be sent; zero: everything it sends is sent back.
//!
//! ```text
//! tcpload serve ADDR                     until ended
//! tcpload bulk ADDR STREAMS BYTES        prints seconds
//! tcpload chat ADDR CONNECTIONS TRIPS    prints seconds and the 99th percentile of a round trip, in seconds
//! ```

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Read and written at once.
const PIECE: usize = 256 << 10;
/// What is sent there and back.
const MESSAGE: usize = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["serve", address] => serve(address),
        ["bulk", address, streams, bytes] => number(streams)
            .and_then(|streams| Ok((streams, number(bytes)?)))
            .and_then(|(streams, bytes)| bulk(address, streams, bytes)),
        ["chat", address, connections, trips] => number(connections)
            .and_then(|connections| Ok((connections, number(trips)?)))
            .and_then(|(connections, trips)| chat(address, connections, trips)),
        _ => Err(io::Error::other(
            "serve ADDR | bulk ADDR STREAMS BYTES | chat ADDR CONNECTIONS TRIPS",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tcpload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(text: &str) -> io::Result<u64> {
    text.parse()
        .map_err(|_| io::Error::other(format!("{text} is no number")))
}

fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        // A client that goes away ends its thread, nothing else.
        thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted)?;
    match u64::from_be_bytes(wanted) {
        0 => echo(&mut stream),
        bytes => send(&mut stream, bytes),
    }
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read])?,
        }
    }
}

fn send(stream: &mut TcpStream, mut bytes: u64) -> io::Result<()> {
    let piece = vec![b'x'; PIECE];
    while bytes > 0 {
        let now = bytes.min(PIECE as u64);
        stream.write_all(&piece[..now as usize])?;
        bytes -= now;
    }
    Ok(())
}

/// Each stream takes `bytes`.
fn bulk(address: &str, streams: u64, bytes: u64) -> io::Result<()> {
    let began = Instant::now();
    all(streams, address, move |mut stream| {
        stream.write_all(&bytes.to_be_bytes())?;
        let (mut buffer, mut taken) = (vec![0; PIECE], 0);
        while taken < bytes {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => taken += read as u64,
            }
        }
        Ok(())
    })?;
    println!("{}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Each connection makes `trips` round trips, one after the other.
fn chat(address: &str, connections: u64, trips: u64) -> io::Result<()> {
    let began = Instant::now();
    let took = all(connections, address, move |mut stream| {
        stream.write_all(&0u64.to_be_bytes())?;
        let mut message = [b'x'; MESSAGE];
        let mut took = Vec::new();
        for _ in 0..trips {
            let sent = Instant::now();
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
            took.push(sent.elapsed());
        }
        Ok(took)
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    let mut took = took.concat();
    took.sort_unstable();
    let p99 = took
        .get(took.len() * 99 / 100)
        .ok_or_else(|| io::Error::other("no round trips"))?;
    println!("{elapsed} {}", p99.as_secs_f64());
    Ok(())
}

/// The same deed on many connections at the same time.
fn all<T: Send + 'static>(
    connections: u64,
    address: &str,
    deed: impl Fn(TcpStream) -> io::Result<T> + Clone + Send + 'static,
) -> io::Result<Vec<T>> {
    let threads: Vec<JoinHandle<io::Result<T>>> = (0..connections)
        .map(|_| {
            let (deed, address) = (deed.clone(), address.to_owned());
            thread::spawn(move || {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                deed(stream)
            })
        })
        .collect();
    let joined = threads.into_iter().map(|thread| {
        let panicked = |_| io::Error::other("a connection's thread panicked");
        thread.join().map_err(panicked)?
    });
    joined.collect()
}
