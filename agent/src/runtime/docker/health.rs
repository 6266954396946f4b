//! What the engine says of a container's own check, which it runs itself: told by its events, shown in its lists.

use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, ContainerSummary, HealthConfig, HealthStatusEnum};
use hancock_agent_core::observed::Health;
use hancock_proto::units::Span;

use super::{RuntimeError, inspect};
use crate::runtime::checks::failure;

/// Failures that count, where an image says nothing; the engine's own default.
const RETRIES: u32 = 3;

/// Between checks, where an image says nothing; the engine's own default.
const INTERVAL: Span = Span::seconds(30);

/// No check at all.
pub(super) fn none() -> HealthConfig {
    HealthConfig {
        test: Some(vec!["NONE".to_owned()]),
        ..HealthConfig::default()
    }
}

/// As a list shows it. Why one is not well, only a closer look tells.
pub(super) async fn listed(
    docker: &Docker,
    one: &ContainerSummary,
) -> Result<Option<Health>, RuntimeError> {
    match word(one.status.as_deref().unwrap_or_default()) {
        Some(Word::Starting) => Ok(Some(Health::Starting)),
        Some(Word::Healthy) => Ok(Some(Health::Healthy)),
        Some(Word::Unhealthy) => {
            let there = inspect(docker, one.id.as_deref().unwrap_or_default()).await?;
            Ok(there.as_ref().and_then(inspected))
        }
        None => Ok(None),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Starting,
    Healthy,
    Unhealthy,
}

/// A list has it at the end of a sentence, as in "Up 5 minutes (healthy)".
fn word(status: &str) -> Option<Word> {
    match status.rsplit_once('(')?.1 {
        "health: starting)" => Some(Word::Starting),
        "healthy)" => Some(Word::Healthy),
        "unhealthy)" => Some(Word::Unhealthy),
        _ => None,
    }
}

/// As a closer look shows it.
pub(super) fn inspected(there: &ContainerInspectResponse) -> Option<Health> {
    let health = there.state.as_ref()?.health.as_ref()?;
    match health.status? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => {
            let config = there.config.as_ref().and_then(|c| c.healthcheck.as_ref());
            let retries = config.and_then(|c| u32::try_from(c.retries?).ok());
            let last = health.log.as_ref().and_then(|log| log.last());
            let output = last.and_then(|l| l.output.as_deref()).unwrap_or_default();
            Some(Health::Unhealthy {
                reason: failure(last.and_then(|l| l.exit_code), output.as_bytes()),
                retries: retries.filter(|n| *n > 0).unwrap_or(RETRIES),
                interval: config.and_then(interval).unwrap_or(INTERVAL),
            })
        }
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

fn interval(config: &HealthConfig) -> Option<Span> {
    let nanos = u64::try_from(config.interval?).ok().filter(|n| *n > 0)?;
    let millis = Duration::from_nanos(nanos).as_millis();
    Some(Span::millis(
        u64::try_from(millis).unwrap_or(u64::MAX).max(1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_it_in_a_word() {
        for (status, expected) in [
            ("Up 5 minutes (healthy)", Some(Word::Healthy)),
            ("Up 2 days (unhealthy)", Some(Word::Unhealthy)),
            (
                "Up Less than a second (health: starting)",
                Some(Word::Starting),
            ),
            ("Up 5 minutes", None),
            ("Up 5 minutes (Paused)", None),
            ("Exited (0) 3 seconds ago", None),
            ("", None),
        ] {
            assert_eq!(word(status), expected, "{status:?}");
        }
    }
}
