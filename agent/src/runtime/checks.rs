//! Checks by a command inside an instance: run, limited in time, output and number.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use hancock_agent_core::observed::Owner;
use hancock_balancer::ProbeResult;
use hancock_balancer::probe::Inside;
use hancock_proto::exec::Order;
use hancock_proto::ids::InstanceId;
use tokio::sync::Semaphore;

use super::exec::Pieces;
use super::{ContainerRuntime, Exec, RuntimeError};

/// Bytes of a command's last output that are told.
const TOLD: usize = 256;

/// Time a runtime has to begin a command. A slow one says nothing of the instance.
const BEGIN: Duration = Duration::from_secs(20);

/// Runs the commands of one node, few at a time: each is a process, and beginning one is work for the runtime.
pub struct Checks {
    runtime: Arc<dyn ContainerRuntime>,
    owner: Owner,
    slots: Semaphore,
}

impl Checks {
    /// Checks of `owner`'s instances, `at_once` at the same time.
    pub fn new(runtime: Arc<dyn ContainerRuntime>, owner: Owner, at_once: usize) -> Self {
        let slots = Semaphore::new(at_once.max(1));
        Self {
            runtime,
            owner,
            slots,
        }
    }

    async fn begin(&self, instance: &InstanceId, command: &[String]) -> Result<Exec, RuntimeError> {
        let order = Order {
            command: command.to_vec(),
            ..Order::default()
        };
        let begun = self.runtime.exec(&self.owner, instance, &order);
        let late = |_| RuntimeError::Unavailable {
            runtime: self.runtime.kind().to_owned(),
            reason: format!("a check of {instance} was not begun within {BEGIN:?}"),
        };
        tokio::time::timeout(BEGIN, begun).await.map_err(late)?
    }
}

#[async_trait]
impl Inside for Checks {
    async fn check(
        &self,
        instance: &InstanceId,
        command: &[String],
        timeout: Duration,
    ) -> Option<ProbeResult> {
        // Held while it runs. An error would mean a closed semaphore, and nobody closes it.
        let _slot = self.slots.acquire().await.ok();
        let outcome = match self.begin(instance, command).await {
            Ok(exec) => end(exec, timeout).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(result) => Some(result),
            Err(error @ RuntimeError::Unavailable { .. }) => {
                tracing::debug!(%instance, %error, "a check could not be tried");
                None
            }
            Err(error) => Some(ProbeResult::Failed(Some(error.to_string()))),
        }
    }
}

/// Waits for the end; one that takes too long is ended, by being dropped.
async fn end(exec: Exec, timeout: Duration) -> Result<ProbeResult, RuntimeError> {
    let Exec {
        input: _input,
        output,
        control,
    } = exec;
    let mut told = Vec::new();
    let ended = tokio::time::timeout(timeout, async {
        keep_last(output, &mut told).await?;
        control.ended().await
    });
    match ended.await {
        Ok(Ok(0)) => Ok(ProbeResult::Ok),
        Ok(Ok(code)) => Ok(ProbeResult::Failed(Some(failure(
            Some(i64::from(code)),
            &told,
        )))),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let reason = format!("its check did not end within {timeout:?} and was ended");
            Ok(ProbeResult::Failed(Some(with_output(reason, &told))))
        }
    }
}

async fn keep_last(mut output: Pieces, told: &mut Vec<u8>) -> Result<(), RuntimeError> {
    while let Some(piece) = output.next().await {
        told.extend(piece?.data);
        let over = told.len().saturating_sub(TOLD);
        told.drain(..over);
    }
    Ok(())
}

/// Why a check failed that ended by itself.
pub(super) fn failure(code: Option<i64>, output: &[u8]) -> String {
    let reason = match code {
        // The engine's word for one that it ended itself, whose output says why.
        Some(code) if code >= 0 => format!("its check ended with exit code {code}"),
        _ => "its check failed".to_owned(),
    };
    with_output(reason, output)
}

/// In one line: it is shown in tables and kept in reports.
fn with_output(reason: String, output: &[u8]) -> String {
    let last = output.len().saturating_sub(TOLD);
    let text = String::from_utf8_lossy(&output[last..]);
    let plain = text.replace(
        |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER,
        " ",
    );
    let words: Vec<&str> = plain.split_whitespace().collect();
    match words.is_empty() {
        true => reason,
        false => format!("{reason}: {}", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_one_short_line() {
        assert_eq!(failure(Some(2), b""), "its check ended with exit code 2");
        assert_eq!(
            failure(Some(1), b"no\r\n\x1b[1mconnection\xff\n"),
            "its check ended with exit code 1: no [1mconnection"
        );
        assert_eq!(failure(Some(-1), b"late"), "its check failed: late");
        let long = failure(Some(1), &b"x".repeat(10_000));
        assert!(long.len() < 2 * TOLD, "{} bytes", long.len());
    }
}
