//! A container's log as lines, over restarts of the container.

use std::sync::Arc;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures::StreamExt;
use hancock_proto::hub::{LogLine, Stream};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Lines, LogQuery, RuntimeError, Shared, connect, inspect, observe};

/// Lines read ahead of whoever asked.
const AHEAD: usize = 256;

/// While a followed container is down, it is looked at again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

type Sender = mpsc::Sender<Result<LogLine, RuntimeError>>;

/// What is being read.
struct Reader {
    shared: Arc<Shared>,
    name: String,
    instance: InstanceId,
    query: LogQuery,
}

pub(super) fn lines(
    shared: Arc<Shared>,
    name: String,
    instance: InstanceId,
    query: LogQuery,
) -> Lines {
    let (send, lines) = mpsc::channel(AHEAD);
    let reader = Reader {
        shared,
        name,
        instance,
        query,
    };
    tokio::spawn(async move {
        let read = tokio::select! {
            read = reader.read(&send) => read,
            () = send.closed() => return,
        };
        if let Err(error) = read {
            // Nobody reads any more: nobody to tell.
            let _ = send.send(Err(error)).await;
        }
    });
    ReceiverStream::new(lines).boxed()
}

impl Reader {
    /// The engine ends a followed log with the container's run; it is taken up again after the last line until the container is gone.
    async fn read(&self, send: &Sender) -> Result<(), RuntimeError> {
        let mut changes = self.shared.changes.subscribe();
        let mut last = self.once(send, self.query.tail, self.query.since).await?;
        if !self.query.follow {
            return Ok(());
        }
        loop {
            // Either a notice of change or the pause: both mean looking.
            let _ = tokio::time::timeout(LOOK_AGAIN, changes.changed()).await;
            let docker = self.shared.connection.docker().await?;
            if inspect(&docker, &self.name).await?.is_none() {
                return Ok(());
            }
            let next = last.map(|at| Timestamp(at.0 + 1)).or(self.query.since);
            last = self.once(send, None, next).await?.or(last);
        }
    }

    /// One reading to its end; the time of its last line.
    async fn once(
        &self,
        send: &Sender,
        tail: Option<usize>,
        since: Option<Timestamp>,
    ) -> Result<Option<Timestamp>, RuntimeError> {
        let docker = self.shared.connection.docker().await?;
        let mut output = Box::pin(docker.logs(&self.name, Some(self.options(tail, since))));
        let mut last = None;
        while let Some(piece) = output.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(e) if connect::status(&e) == Some(404) => break,
                Err(e) => return Err(connect::error("read the log of", &self.instance, e)),
            };
            for line in self.parse(&piece) {
                // The engine's own limit is in whole seconds.
                if since.is_none_or(|since| line.at >= since) {
                    last = Some(line.at);
                    if send.send(Ok(line)).await.is_err() {
                        return Ok(last);
                    }
                }
            }
        }
        Ok(last)
    }

    fn options(&self, tail: Option<usize>, since: Option<Timestamp>) -> LogsOptions {
        LogsOptions {
            follow: self.query.follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            since: since.map_or(0, |t| i32::try_from(t.0 / 1000).unwrap_or(i32::MAX)),
            tail: tail.map_or_else(|| "all".to_owned(), |n| n.to_string()),
            ..LogsOptions::default()
        }
    }

    fn parse(&self, piece: &LogOutput) -> Vec<LogLine> {
        let (stream, bytes) = match piece {
            LogOutput::StdErr { message } => (Stream::Stderr, message),
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => (Stream::Stdout, message),
        };
        let text = String::from_utf8_lossy(bytes);
        let line = |line: &str| {
            let (at, text) = line.split_once(' ').unwrap_or((line, ""));
            Some(LogLine {
                instance: self.instance.clone(),
                at: observe::time(at)?,
                stream,
                text: text.trim_end_matches('\r').to_owned(),
            })
        };
        text.lines().filter_map(line).collect()
    }
}
