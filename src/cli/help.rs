//! The first page a newcomer sees: commands in groups, then examples; and the page about `--output json`. Tests keep them complete.

/// Order of the page.
pub const TEMPLATE: &str =
    "{about}\n\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

/// Every command, grouped by what it is for.
pub const COMMANDS: &str = "\
Start here:
  dev          Run the whole system on this machine (--demo: with an app to try)

Apps:
  app          init · validate · plan · apply · list · show · history
               rollback · scale · restart · stop · start · delete
  deployment   status · abort: a new version on its way in
  ps           Instances: where they run and how they are
  instance     list · show · restart · kill: one of them
  logs         What an app's instances print
  exec         A command inside an instance, also on a terminal
  run          A job of an app of kind task

Cluster:
  status       How everything is, on one page
  node         list · show · orphans · purge: machines, what they have, what
               is used, and what nobody knows there
  image        list · pull: what is on nodes, and fetching it beforehand
  zone         list · create · delete · upstreams · add · delete-upstream
               pick · top: sets of nodes and what their balancers carry
  registry     show · set: where balancers outside read upstream documents
  events       What happened, newest last
  agent        One node: runs instances, and is the balancer in front of them
               (upgrade: another binary takes over while it serves)
  master       run · init · join · list · remove · transfer · recover
               several masters, also after most of them are lost
  snapshot     save · restore · inspect: the whole cluster as a file
  doctor       Whether this machine can be a node, and what to do about it

By itself:
  balancer     Only the data plane: passes for a Slardar
  upstream     import: documents a Slardar has stored, into a balancer

Shell:
  completions  A completion script for bash, zsh, fish, elvish or powershell

Every command explains itself with --help.
";

/// The way through, and what programs need to know.
pub const EXAMPLES: &str = "\
Examples:
  hancock dev --demo                  everything in one process, and a demo app
  hancock app init > web.yaml         a commented example to change
  hancock app plan web.yaml           what would happen, and where it would run
  hancock app apply web.yaml --wait   make it so; fails when it fails
  hancock ps web                      its instances
  hancock logs -f web                 what they print
  hancock exec -it web sh             a shell inside one of them
  hancock app rollback web --wait     back to the version before

Exit codes:
  0 done · 1 failed (a deployment, a file) · 2 command line not understood
  3 master not reachable · 4 refused (invalid spec, unknown app)
  exec: the command's own, and 125 when it is Hancock that failed

For programs: --output json, with every field in `hancock help output`.";

/// `hancock help output`.
pub const OUTPUT: &str = "\
With --output json every command prints one JSON value per line on standard
output, and an error as one line on standard error. They are the structures of
the API (proto/src/api.rs), so what GET gives and what is printed is the same.
Fields may be added; programs should pass over those they do not know. Fields
marked ? are left out, or null, when there is nothing to say. Times are
milliseconds since 1970.

  app list             [AppSummary]
  app show             AppDetail; with --spec only the spec
  app history          [VersionInfo]
  app plan             PlanReply
  app validate         {file, valid, problems?: [{line, path, message}]}
  app apply, rollback, scale, restart, stop, start, delete
                       ApplyReply; with --wait then a DeploymentView per change
  deployment status    DeploymentView; with --wait one per change
  deployment abort     DeploymentView
  ps, instance list    [InstanceView]
  instance show        InstanceView
  instance restart     ApplyReply
  instance kill        {done}
  node list            [NodeView]
  node show            NodeView
  node orphans, purge  [{node, cluster, instance, app, version, running, own,
                       more?}]; with --local [{runtime, node, cluster,
                       instance, app, version, running, agent?, error?}]
  image list           [{node, id, tags, digests, size, created, used,
                       apps: [{app, version}]}]
  image pull           [{node, state (done failed), digest?, reason?}]
  zone list            [ZoneView]
  zone create          ZoneView
  zone delete, add, delete-upstream
                       {done}
  zone upstreams       [UpstreamView]
  zone pick            {name, mode, looks_at (nothing path client header),
                       hash?, peer?, own?, failing: [address],
                       shares: [{peer, share}]}
  zone top             [TopLine]
  registry show, set   RegistryView
  logs                 a line each: {instance, at, stream, text}
  events               an event each: {number, index, at, level, kind, app?,
                       deployment?, instance?, node?, message}
  status               StatusView
  upstream import      a list of {name, side (http tcp), result (imported
                       would_be_imported left_out refused), reason?}
  master list, remove, transfer
                       [MasterView]
  master init          {cluster, operator_token, join_token}
  master join          {cluster}
  master recover       {cluster, index, others: [{name, peers, voter, answers}],
                       kept?}
  snapshot save, inspect
                       {cluster, index, term, at, version, format, bytes,
                       checksum, counts: {apps, instances, nodes, zones,
                       deployments, upstreams}}
  snapshot restore     {cluster, index, operator_token?, join_token?}
  doctor               a list of {check, level (ok warn fail), found, why?,
                       fix?}
  any error            {code, message, problems?: [{line?, path, message}]}

AppSummary      app, version, stopped, replicas, serving, deployment?, hosts,
                listens
AppDetail       summary: AppSummary, spec, instances: [InstanceView],
                image_digest?, deployment?: DeploymentView, published
VersionInfo     version, at, image?, image_digest?, deployment?, stable, digest
PlanReply       app, action (create replace scale reroute nothing),
                changes: [{path, old, new}], placements: [{node, reason}],
                unplaceable: [text], notes?: [text],
                peak: {cpu, memory, disk}, spec
ApplyReply      app, version, deployment?, index
DeploymentView  id, app, version, phase (queued clearing placing starting
                promoting draining stopping failing; successful failed
                aborted superseded), done, ok, reason, started, ended?,
                deadline?, new: [InstanceView], old: [InstanceView], index
InstanceView    id, app, version, node?, address?, life (pending placed pulling
                starting running stopping stopped failed rejected), since,
                ready?: {value, since, reason}, routed, draining, unknown,
                restarts, image_digest?, reason?
NodeView        info: {node, address, addresses, labels, runtime, capacity,
                version, …}, state (alive unknown lost), heard_ms?,
                used: {cpu, memory, disk}, instances, generation, offer?
ZoneView        zone, selector: {label: value}, external_settle?, nodes: [name],
                services
UpstreamView    name, app?, index, confirmed, balancers, peers: [{address,
                weight, instance?, node?, health}], doc
TopLine         name, app?, requests, errors, latency_ms, balancers
RegistryView    url, phase (settled filling confirming), next?, since?,
                following, nodes, waiting?: [name], revision
MasterView      name, voter, leader, log?, version?, format, knows, api,
                agents, peers
StatusView      cluster, version, leader?, term, applied, nodes: {state: n},
                instances: {life: n}, apps, deployments, registry, trouble?,
                proxy?";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;
    use crate::cli::testing::{instance, view};

    #[test]
    fn every_page_fits_a_terminal() {
        for line in [COMMANDS, EXAMPLES, OUTPUT].iter().flat_map(|p| p.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    /// What the page says of `name`, up to the next name.
    fn fields(name: &str) -> &'static str {
        let start = OUTPUT.find(&format!("\n{name} ")).unwrap() + 1;
        let rest = &OUTPUT[start..];
        let next = rest.match_indices('\n').find(|(at, _)| {
            let following = rest.as_bytes().get(at + 1);
            following.is_some_and(|c| *c != b' ')
        });
        next.map_or(rest, |(end, _)| &rest[..end])
    }

    #[test]
    fn the_page_about_output_names_every_field() {
        let structures: [(&str, Value); 2] = [
            ("DeploymentView", json!(view("starting", Vec::new()))),
            ("InstanceView", json!(instance("web-1", "running"))),
        ];
        for (name, value) in structures {
            let page = fields(name);
            for field in value.as_object().unwrap().keys() {
                assert!(page.contains(field.as_str()), "{name}.{field}: {page}");
            }
        }
    }
}
