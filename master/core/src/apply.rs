//! Carries out one command: total, deterministic, and suspicious of plans made on an older state.

mod admission;
mod apps;
mod claims;
mod clear;
mod cutover;
mod deployments;
mod format;
mod heal;
mod kept;
mod nodes;
mod pin;
mod place;
mod promote;
mod registry;
mod step;
mod sweep;
mod zones;

use hancock_proto::api::ApiError;
use hancock_proto::ids::{LogIndex, Term};

use crate::command::{Command, Reply};
use crate::refuse::conflict;
use crate::state::State;

pub(crate) use admission::{action, check as admit};
pub(crate) use claims::{listens, spoken};
pub(crate) use clear::{Way, may_run, way};
pub(crate) use cutover::must_report;
pub(crate) use heal::{effect, is_replacement};
pub(crate) use promote::{MAX_GENERATIONS, can_go_back, most_generations};
use step::Step;
pub(crate) use sweep::QUARANTINE;
pub(crate) use zones::Users;
pub(crate) use zones::taken_over;

impl State {
    /// Carries out one replicated command: total, and the same everywhere.
    pub fn apply(&mut self, index: LogIndex, term: Term, command: &Command) -> Reply {
        self.applied = index;
        self.clock = self.clock.max(command.at());
        if self.cluster.is_none() && !matches!(command, Command::Init { .. }) {
            return Reply::Refused(conflict("the cluster has not begun".to_owned()));
        }
        let mut step = Step::new(self, index);
        let reply = wish(&mut step, term, command).unwrap_or_else(Reply::Refused);
        step.finish();
        reply
    }
}

/// What owners, masters and nodes say.
fn wish(step: &mut Step<'_>, term: Term, command: &Command) -> Result<Reply, ApiError> {
    use Command as C;
    match command {
        C::Init { cluster, .. } => nodes::init(step, cluster),
        C::TermStarted { leader, .. } => nodes::term_started(step, term, leader),
        C::AskMaster { deed, name, .. } => nodes::ask_master(step, *deed, name),
        C::ApplyApp { spec, .. } => apps::apply_app(step, spec),
        C::Scale { app, replicas, .. } => apps::scale(step, app, *replicas),
        C::Restart { app, .. } => apps::restart(step, app),
        C::StopApp { app, .. } => apps::stop(step, app),
        C::StartApp { app, .. } => apps::start(step, app),
        C::DeleteApp { app, .. } => apps::delete(step, app),
        C::Rollback { app, version, .. } => apps::rollback(step, app, *version),
        C::Abort { deployment, .. } => deployments::abort(step, *deployment),
        C::ReplaceInstance { instance, .. } => heal::replace(step, instance),
        C::RegisterNode { info, boot, .. } => nodes::register(step, info, boot),
        C::Report {
            node,
            boot,
            sequence,
            instances,
            ..
        } => nodes::report(step, node, boot, *sequence, instances),
        C::NodeLost { node, .. } => nodes::lost(step, node),
        C::NodeFound { node, .. } => nodes::found(step, node),
        C::PutZone { name, zone, .. } => zones::put(step, name, zone),
        C::AddServer {
            zone, name, server, ..
        } => kept::add_server(step, zone, name, server),
        C::DeleteUpstream { zone, name, .. } => kept::delete(step, zone, name),
        C::DeleteZone { name, .. } => zones::delete(step, name),
        other => turn(step, other),
    }
}

/// The leader's own steps.
fn turn(step: &mut Step<'_>, command: &Command) -> Result<Reply, ApiError> {
    use Command as C;
    match command {
        C::Place {
            purpose,
            first,
            placements,
            ..
        } => place::place(step, purpose, *first, placements),
        C::Clear { deployment, .. } => clear::clear(step, *deployment),
        C::Promote { deployment, .. } => promote::promote(step, *deployment),
        C::Heal { app, join, .. } => heal::heal(step, app, join),
        C::Discard { app, instances, .. } => heal::discard(step, app, instances),
        C::RestartAiling { app, instances, .. } => heal::restart_ailing(step, app, instances),
        C::FinishDeployment {
            deployment,
            holding,
            lingering,
            ..
        } => deployments::finish(step, *deployment, holding, lingering),
        C::PlaceAgain {
            deployment,
            instances,
            ..
        } => deployments::place_again(step, *deployment, instances),
        C::FailDeployment {
            deployment, reason, ..
        } => deployments::fail(step, *deployment, reason),
        C::AgreeFormat { format, .. } => format::agree(step, *format),
        C::ChooseRegistry { url, .. } => registry::choose(step, url),
        C::RegistryFilled {
            number, revision, ..
        } => registry::filled(step, *number, *revision),
        C::RegistrySwitched { number, nodes, .. } => registry::switched(step, *number, nodes),
        C::RegistryRepaired {
            number,
            names,
            count,
            ..
        } => registry::repaired(step, *number, names, *count),
        C::RegistryPublish { batch, fence, .. } => registry::publish(step, batch, fence),
        C::RegistryRaise { fence, .. } => registry::raise(step, fence),
        other => acknowledged(step, other),
    }
}

/// Steps of a cutover.
fn acknowledged(step: &mut Step<'_>, command: &Command) -> Result<Reply, ApiError> {
    use Command as C;
    match command {
        C::Published {
            app,
            index,
            revision,
            outside,
            ..
        } => cutover::published(step, app, *index, *revision, *outside),
        C::BeginDrain {
            app,
            index,
            evidence,
            ..
        } => cutover::begin_drain(step, app, *index, evidence),
        C::StopInstances {
            app,
            index,
            stops,
            evidence,
            ..
        } => cutover::stop_instances(step, app, *index, stops, evidence),
        C::Settle {
            app,
            index,
            unreported,
            ..
        } => cutover::settle(step, app, *index, unreported),
        C::LeaveZones {
            app,
            index,
            evidence,
            ..
        } => zones::leave_zones(step, app, *index, evidence),
        C::LetGo { app, nodes, .. } => zones::let_go(step, app, nodes),
        // Everything else was carried out by the callers.
        _ => Ok(Reply::Done),
    }
}
