//! The first page a newcomer sees: commands in groups, then examples. A test keeps it complete.

/// Order of the page.
pub const TEMPLATE: &str =
    "{about}\n\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

/// Every command, grouped by what it is for.
pub const COMMANDS: &str = "\
Start here:
  dev          Run the whole system on this machine (--demo: with an app to try)

Apps:
  app          init · validate · plan · apply · list · show · history · rollback
               scale · restart · stop · start · delete
  deployment   status · abort: a new version on its way in
  ps           Instances: where they run and how they are
  logs         What an app's instances print

Cluster:
  status       How everything is, on one page
  node         list: machines, what they have and what is used
  events       What happened, newest last

By itself:
  balancer     Only the data plane: passes for a Slardar

Shell:
  completions  A completion script for bash, zsh, fish, elvish or powershell

Every command explains itself with --help.
";

/// The way through, and what programs need to know.
pub const EXAMPLES: &str = "\
Examples:
  hancock dev --demo                    everything in one process, with a demo app
  hancock app init > web.yaml           a commented example to change
  hancock app plan web.yaml             what would happen, and where instances would go
  hancock app apply web.yaml --wait     make it so; fails when the deployment fails
  hancock ps web                        its instances
  hancock logs -f web                   what they print
  hancock app rollback web --wait       back to the version before

Exit codes: 0 done · 1 failed (a deployment, a file) · 2 command line not understood
            3 master not reachable · 4 refused (invalid spec, unknown app)

JSON: --output json prints one value per line. Reads print what the API's GET gives; writes
their reply {app, version, deployment, index}; with --wait then a line per change of the
deployment {id, app, version, phase, done, ok, reason, started, ended, deadline, new, old,
index}. logs prints {instance, at, stream, text}; events {number, index, at, level, kind, app,
deployment, instance, node, message}; validate {file, valid, problems: [{line, path, message}]}.
Errors go to standard error as {code, message, problems}. Times are milliseconds since 1970.";
