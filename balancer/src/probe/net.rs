//! Probes over the network, a new connection each: a reused one would hide a dead listener.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use hancock_balancer_core::health::ProbeResult;

use super::{Answer, Probe, Prober, Question, mysql, redis};

/// Probes at the same time; more wait for their turn, outside their own time limit.
const AT_ONCE: usize = 256;
/// A first line longer than this is none.
const MAX_LINE: usize = 8192;

/// Dials for real.
pub(crate) struct NetProber {
    turns: Semaphore,
}

impl NetProber {
    pub(crate) fn new() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn probe(&self, probe: &Probe) -> Answer {
        let _turn = self.turns.acquire().await;
        let answer = ask(probe);
        match &probe.question {
            Question::Get { .. } => timeout(probe.timeout, answer)
                .await
                .unwrap_or_else(|_| Answer::from(ProbeResult::Failed(Some("timeout".to_owned())))),
            _ => answer.await,
        }
    }
}

/// Why a step failed, where there is something to tell.
pub(super) type Failure = Option<String>;
pub(super) type Asked = Result<(), Failure>;

async fn ask(probe: &Probe) -> Answer {
    let dialled = step(probe.timeout, dial(&probe.host, probe.port)).await;
    let mut stream = match (dialled, &probe.question) {
        (Ok(stream), Question::Redis) => return redis::ask(stream, probe.timeout).await,
        (Ok(stream), _) => stream,
        (Err(failure), Question::Mysql(_)) => {
            let failure = failure.map(|f| format!("failed to connect: {f}"));
            return Answer::from(ProbeResult::Failed(failure));
        }
        (Err(failure), _) => return Answer::from(ProbeResult::Failed(failure)),
    };
    let asked = match &probe.question {
        Question::Mysql(login) => mysql::ask(stream, login, probe.timeout).await,
        question => in_a_line(&mut stream, question, probe.timeout).await,
    };
    Answer::from(asked.map_or_else(ProbeResult::Failed, |()| ProbeResult::Ok))
}

/// Questions that the first line of an answer decides.
async fn in_a_line(stream: &mut TcpStream, question: &Question, limit: Duration) -> Asked {
    match question {
        Question::Get { path, host, expect } => {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hancock-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            );
            let line = exchange(stream, request.as_bytes(), limit).await?;
            judge_status(&line, expect)
        }
        Question::Raw { query, refused } => {
            let line = exchange(stream, query, limit).await?;
            refused
                .as_ref()
                .map_or(Ok(()), |codes| judge_refused(&line, codes))
        }
        Question::Connect | Question::Redis | Question::Mysql(_) => Ok(()),
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    TcpStream::connect((host, port)).await
}

/// One network step within its time, failures in the words of the original.
pub(super) async fn step<T>(
    limit: Duration,
    deed: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    match timeout(limit, deed).await {
        Err(_) => Err(Some("timeout".to_owned())),
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Some(match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::TimedOut => "timeout".to_owned(),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => "closed".to_owned(),
            _ => error.to_string(),
        })),
    }
}

/// Sends `request`, answers the first line without its end.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, Option<String>> {
    step(limit, stream.write_all(request)).await?;
    let mut line = Vec::new();
    loop {
        let mut chunk = [0; 512];
        let got = step(limit, stream.read(&mut chunk)).await?;
        if got == 0 || line.len() > MAX_LINE {
            return Err(Some("closed".to_owned()));
        }
        line.extend_from_slice(&chunk[..got]);
        if let Some(end) = line.windows(2).position(|w| w == b"\r\n") {
            line.truncate(end);
            return Ok(line);
        }
    }
}

fn judge_status(line: &[u8], expect: &[u16]) -> Asked {
    let code = status(line).and_then(|code| u16::try_from(code).ok());
    let good = code.is_some_and(|code| match expect {
        [] => (200..400).contains(&code),
        some => some.contains(&code),
    });
    match (good, code) {
        (true, _) => Ok(()),
        (false, Some(code)) => Err(Some(format!("answered {code}"))),
        (false, None) => Err(Some("did not answer in HTTP".to_owned())),
    }
}

fn judge_refused(line: &[u8], refused: &[u64]) -> Asked {
    match status(line) {
        None => Err(None),
        Some(code) if refused.contains(&code) => Err(Some("bad status code".to_owned())),
        Some(_) => Ok(()),
    }
}

/// The code of `HTTP/<digits>.<digits> <blanks> <digits>`, in any case.
fn status(line: &[u8]) -> Option<u64> {
    // What is said after the code may be in any language.
    let line = String::from_utf8_lossy(line);
    let (name, rest) = line.split_at_checked(5)?;
    name.eq_ignore_ascii_case("HTTP/").then_some(())?;
    let rest = digits(rest)?.1.strip_prefix('.')?;
    let rest = digits(rest)?.1;
    let code = rest.trim_start();
    (code.len() < rest.len()).then_some(())?;
    digits(code)?.0.parse().ok()
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        for (line, code) in [
            ("HTTP/1.1 200 OK", Some(200)),
            ("http/1.0   404", Some(404)),
            ("HTTP/2 200", None),
            ("HTTP/1.1200", None),
            ("SSH-2.0-x", None),
            ("HTTP/1.1 x", None),
        ] {
            assert_eq!(status(line.as_bytes()), code, "{line}");
        }
        assert_eq!(status(b"HTTP/1.1 503 \xe9chec"), Some(503));
        assert!(judge_status(b"HTTP/1.1 302 Found", &[]).is_ok());
        assert_eq!(
            judge_status(b"HTTP/1.1 503 No", &[]),
            Err(Some("answered 503".into()))
        );
        assert!(judge_status(b"HTTP/1.1 503 No", &[503]).is_ok());
        assert_eq!(
            judge_refused(b"HTTP/1.1 503 No", &[503]),
            Err(Some("bad status code".into()))
        );
        assert_eq!(judge_refused(b"what", &[503]), Err(None));
    }

    async fn result(answer: &'static [u8], question: Question) -> ProbeResult {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut chunk = [0; 512];
            let _ = stream.read(&mut chunk).await;
            let _ = stream.write_all(answer).await;
        });
        let probe = Probe {
            host: "127.0.0.1".into(),
            port,
            question,
            timeout: Duration::from_secs(5),
        };
        let result = NetProber::new().probe(&probe).await.result;
        server.abort();
        result
    }

    #[tokio::test]
    async fn real_connections() {
        let get = |expect: &[u16]| Question::Get {
            path: "/health".into(),
            host: "x".into(),
            expect: expect.to_vec(),
        };
        assert_eq!(result(b"", Question::Connect).await, ProbeResult::Ok);
        assert_eq!(
            result(b"HTTP/1.1 204 No Content\r\n\r\n", get(&[])).await,
            ProbeResult::Ok
        );
        let failed = |reason: &str| ProbeResult::Failed(Some(reason.to_owned()));
        assert_eq!(
            result(b"HTTP/1.1 500 No\r\n\r\n", get(&[])).await,
            failed("answered 500")
        );
        assert_eq!(result(b"", get(&[])).await, failed("closed"));
        let raw = |refused| Question::Raw {
            query: b"PING\r\n".to_vec(),
            refused,
        };
        assert_eq!(result(b"+PONG\r\n", raw(None)).await, ProbeResult::Ok);
        assert_eq!(
            result(b"+PONG\r\n", raw(Some(vec![]))).await,
            ProbeResult::Failed(None)
        );
    }

    /// Connections a listener sees, and a probe of it.
    async fn listening(question: Question, timeout: Duration) -> (tokio::net::TcpListener, Probe) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let probe = Probe {
            host: "127.0.0.1".into(),
            port,
            question,
            timeout,
        };
        (listener, probe)
    }

    #[tokio::test]
    async fn every_probe_is_a_connection_of_its_own() {
        let (listener, probe) = listening(Question::Connect, Duration::from_secs(5)).await;
        let prober = NetProber::new();
        for _ in 0..3 {
            assert_eq!(prober.probe(&probe).await.result, ProbeResult::Ok);
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut rest = Vec::new();
            let ended = stream.read_to_end(&mut rest).await;
            assert_eq!(ended.expect("the end"), 0, "nothing is sent");
        }
    }

    /// Two pieces, each within its time; together they take longer than one step may.
    #[tokio::test]
    async fn each_step_has_its_own_time() {
        let (limit, pace) = (Duration::from_millis(1500), Duration::from_millis(900));
        let raw = Question::Raw {
            query: b"x".to_vec(),
            refused: None,
        };
        let (listener, probe) = listening(raw, limit).await;
        let slowly = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut more = [0; 1];
            assert_eq!(stream.read(&mut more).await.expect("the query"), 1);
            for piece in ["+PO", "NG\r\n"] {
                assert!(timeout(pace, stream.read(&mut more)).await.is_err());
                let sent = stream.write_all(piece.as_bytes()).await;
                sent.expect("still listened to");
            }
        };
        let prober = NetProber::new();
        let (answer, ()) = tokio::join!(prober.probe(&probe), slowly);
        assert_eq!(answer.result, ProbeResult::Ok);
    }

    #[tokio::test]
    async fn nobody_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let probe = Probe {
            host: "127.0.0.1".into(),
            port,
            question: Question::Connect,
            timeout: Duration::from_secs(5),
        };
        let refused = ProbeResult::Failed(Some("connection refused".to_owned()));
        assert_eq!(NetProber::new().probe(&probe).await.result, refused);
    }
}
