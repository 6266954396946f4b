//! The redis probe: `PING`, then what the server says of itself and its replication.

use std::io;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use hancock_balancer_core::health::ProbeResult;

use super::net::{Failure, step};
use super::{Answer, RedisFacts};

/// Longest line, and largest bulk text, that is read.
const MAX_LINE: u64 = 8192;
const MAX_BULK: usize = 256 * 1024;

/// Lines of `INFO replication` that are told.
const TOLD: [&str; 6] = [
    "role",
    "master_host",
    "master_port",
    "master_link_status",
    "master_link_down_since_seconds",
    "master_last_io_seconds_ago",
];

struct Client {
    stream: BufReader<TcpStream>,
    limit: Duration,
}

/// One reply: its text, or the server's error.
type Reply = Result<String, String>;

pub(super) async fn ask(stream: TcpStream, limit: Duration) -> Answer {
    let mut client = Client {
        stream: BufReader::new(stream),
        limit,
    };
    match client.call(&["PING"]).await {
        Ok(Ok(_)) => facts(&mut client).await,
        Ok(Err(message)) => Answer::from(ProbeResult::Failed(Some(message))),
        Err(failure) => Answer::from(ProbeResult::Failed(failure)),
    }
}

/// It answers, so the probe is good; unless it says that it is cut off from its master.
async fn facts(client: &mut Client) -> Answer {
    let replication = match client.info("replication").await {
        Err(_) => client.info("").await,
        said => said,
    };
    let version = match client.info("server").await {
        Ok(text) => member(&text, "redis_version").map(str::to_owned),
        Err(_) => None,
    };
    let (told, down) = match replication {
        Ok(text) => (
            told(&text),
            member(&text, "master_link_status") == Some("down"),
        ),
        Err(problem) => (json!({"err": problem}), false),
    };
    let result = match down {
        true => ProbeResult::Unstable("master link status: down".to_owned()),
        false => ProbeResult::Ok,
    };
    Answer {
        result,
        redis: Some(RedisFacts {
            replication: told,
            version,
        }),
    }
}

fn told(text: &str) -> Value {
    let told = TOLD
        .iter()
        .filter_map(|key| Some((*key, member(text, key)?)));
    let told = told.map(|(key, value)| (key.to_owned(), Value::from(value)));
    Value::Object(Map::from_iter(told))
}

fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    lines.find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'))
}

impl Client {
    async fn info(&mut self, section: &str) -> Reply {
        let words: &[&str] = match section {
            "" => &["INFO"],
            some => &["INFO", some],
        };
        match self.call(words).await {
            Ok(reply) => reply,
            Err(failure) => Err(failure.unwrap_or_default()),
        }
    }

    async fn call(&mut self, words: &[&str]) -> Result<Reply, Failure> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        let sent = step(self.limit, self.stream.write_all(request.as_bytes())).await;
        let line = step(self.limit, line(&mut self.stream)).await;
        // A full server says so and closes before it was asked: its word counts, though ours did not get through.
        let line = line.map_err(|failure| sent.err().unwrap_or(failure))?;
        let (kind, rest) = line.split_at_checked(1).unwrap_or(("", ""));
        match kind {
            "+" | ":" => Ok(Ok(rest.to_owned())),
            "-" => Ok(Err(rest.to_owned())),
            "$" => self.bulk(rest).await,
            _ => Err(Some(format!("unknown reply {:?}", clipped(&line)))),
        }
    }

    async fn bulk(&mut self, length: &str) -> Result<Reply, Failure> {
        let length = length.parse::<usize>().ok().filter(|n| *n <= MAX_BULK);
        let Some(length) = length else {
            return Err(Some("bulk reply of no use".to_owned()));
        };
        let mut text = vec![0; length + 2];
        step(self.limit, self.stream.read_exact(&mut text)).await?;
        text.truncate(length);
        Ok(Ok(String::from_utf8_lossy(&text).into_owned()))
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
    match line.strip_suffix(b"\r\n") {
        Some(whole) => Ok(String::from_utf8_lossy(whole).into_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers commands with these replies, in order; gives what was asked.
    async fn scripted(replies: &[&str]) -> (Answer, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let address = listener.local_addr().expect("an address");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let (mut asked, mut piece) = (Vec::new(), [0; 256]);
            for reply in replies {
                let length = stream.read(&mut piece).await.expect("a command");
                asked.extend_from_slice(&piece[..length]);
                stream
                    .write_all(reply.as_bytes())
                    .await
                    .expect("listened to");
            }
            String::from_utf8(asked).expect("text")
        };
        let probe = async {
            let stream = TcpStream::connect(address).await.expect("connected");
            ask(stream, Duration::from_secs(5)).await
        };
        tokio::join!(probe, serve)
    }

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    /// A reset that came first fails the write, not the read of what came before it.
    #[tokio::test]
    async fn the_word_of_a_server_that_closes_at_once_is_heard() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bound");
        let address = listener.local_addr().expect("an address");
        let probe = TcpStream::connect(address).await.expect("connected");
        let (mut server, _) = listener.accept().await.expect("a connection");
        let word = "ERR max number of clients reached";
        let sent = server.write_all(format!("-{word}\r\n").as_bytes()).await;
        sent.expect("sent");
        let reset = socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO));
        reset.expect("no lingering");
        drop(server);
        let answer = ask(probe, Duration::from_secs(5)).await;
        assert_eq!(answer.result, ProbeResult::Failed(Some(word.to_owned())));
    }

    #[tokio::test]
    async fn a_server_without_sections_is_asked_for_all_it_says() {
        let all = bulk("redis_version:2.4\r\nrole:master\r\n");
        let replies = ["+PONG\r\n", "-ERR syntax error\r\n", &all, &all];
        let (answer, asked) = scripted(&replies).await;
        let facts = answer.redis.expect("facts");
        assert_eq!(answer.result, ProbeResult::Ok);
        assert_eq!(facts.replication, json!({"role": "master"}));
        assert_eq!(facts.version.as_deref(), Some("2.4"));
        assert!(asked.contains("replication") && asked.contains("*1\r\n$4\r\nINFO\r\n"));
        // Nobody is given a password.
        assert!(!asked.contains("AUTH"), "{asked}");
    }
}
