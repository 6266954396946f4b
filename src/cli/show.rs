//! How instances and deployments look as text; several commands show them.

use hancock_proto::api::{DeploymentView, InstanceView};
use hancock_proto::report::Life;

use super::args::age;
use super::out::{Out, Tone};
use super::table::{Cell, Table, harmless};

/// Where an instance is, in one word that says what matters most.
pub fn state(instance: &InstanceView) -> (&'static str, Tone) {
    let ready = instance.ready.as_ref().is_some_and(|c| c.value);
    match instance.life {
        _ if instance.unknown => ("unknown", Tone::Bad),
        Life::Failed | Life::Rejected => (instance.life.word(), Tone::Bad),
        Life::Running if instance.draining => ("draining", Tone::Busy),
        Life::Running if ready && instance.routed => ("serving", Tone::Good),
        Life::Running if ready => ("ready", Tone::Busy),
        Life::Stopped => ("stopped", Tone::Faint),
        life => (life.word(), Tone::Busy),
    }
}

/// Why an instance is as it is: its own reason, or what keeps it from being ready.
pub fn reason(instance: &InstanceView) -> String {
    let not_ready = instance
        .ready
        .as_ref()
        .filter(|c| !c.value && instance.life == Life::Running);
    match (&instance.reason, not_ready) {
        (Some(reason), _) => reason.clone(),
        (None, Some(condition)) => format!("not ready: {}", condition.reason),
        (None, None) => String::new(),
    }
}

/// A table of instances, and below it whatever reasons have more than one line.
pub fn instances(list: &[InstanceView], out: &Out) -> String {
    if list.is_empty() {
        return "no instances\n".to_owned();
    }
    let mut table = Table::new(&[
        "INSTANCE", "VERSION", "NODE", "ADDRESS", "STATE", "FOR", "RESTARTS", "REASON",
    ]);
    for instance in list {
        let (word, tone) = state(instance);
        table.row([
            instance.id.clone().into(),
            instance.version.into(),
            instance
                .node
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
                .into(),
            instance.address.clone().unwrap_or_default().into(),
            Cell::toned(word, tone),
            age(instance.since).into(),
            instance.restarts.into(),
            reason(instance).into(),
        ]);
    }
    let (table, cut) = table.render_cut(out);
    let details = list
        .iter()
        .enumerate()
        .filter_map(|(n, instance)| details(instance, cut.contains(&n)));
    std::iter::once(table).chain(details).collect()
}

/// What did not fit in the table: a first line that was cut, and further lines, mostly an instance's last words.
fn details(instance: &InstanceView, cut: bool) -> Option<String> {
    let reason = reason(instance);
    let more: Vec<String> = reason
        .lines()
        .skip(usize::from(!cut))
        .map(|l| format!("  {}\n", harmless(l)))
        .collect();
    (!more.is_empty()).then(|| format!("\n{}:\n{}", instance.id, more.concat()))
}

/// A deployment in a few lines.
pub fn deployment(view: &DeploymentView, out: &Out) -> String {
    let mut text = format!("{}\n", deployment_line(view, out));
    if !view.reason.is_empty() {
        text += &format!("  {}\n", harmless(&view.reason));
    }
    if let (false, Some(deadline)) = (view.done, view.deadline) {
        let left = deadline.since(super::args::now());
        text += &format!(
            "  fails in {} if nothing moves\n",
            super::args::length(left)
        );
    }
    for (title, list) in [("new", &view.new), ("old", &view.old)] {
        if !list.is_empty() {
            text += &format!("\n{title}:\n{}", instances(list, out));
        }
    }
    text
}

/// A deployment in one line.
pub fn deployment_line(view: &DeploymentView, out: &Out) -> String {
    let took = duration(view);
    let phase = out.tint(&view.phase, tone(view));
    format!(
        "deployment {} of {} version {}: {phase} {took}",
        view.id, view.app, view.version
    )
}

/// How long it has taken, or took.
pub fn duration(view: &DeploymentView) -> String {
    view.ended.map_or_else(
        || format!("for {}", age(view.started)),
        |ended| format!("after {}", super::args::length(ended.since(view.started))),
    )
}

/// The colour of a deployment's phase.
pub fn tone(view: &DeploymentView) -> Tone {
    match (view.done, view.ok) {
        (false, _) => Tone::Busy,
        (true, true) => Tone::Good,
        (true, false) => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::super::out::Format;
    use super::super::testing::instance;
    use super::*;

    #[test]
    fn an_instance_is_told_in_one_word_and_its_reason() {
        let ready = |value| hancock_proto::report::Condition {
            value,
            since: Default::default(),
            reason: "503".to_owned(),
        };
        let mut web = instance("web-1", "running");
        assert_eq!(state(&web).0, "running");
        web.ready = Some(ready(false));
        assert_eq!(
            (state(&web).0, reason(&web).as_str()),
            ("running", "not ready: 503")
        );
        web.ready = Some(ready(true));
        assert_eq!((state(&web).0, reason(&web).as_str()), ("ready", ""));
        web.routed = true;
        assert_eq!(state(&web).0, "serving");
        web.draining = true;
        assert_eq!(state(&web).0, "draining");
        web.unknown = true;
        assert_eq!(state(&web).0, "unknown");
    }

    #[test]
    fn reasons_of_several_lines_stand_below_the_table() {
        let mut web = instance("web-1", "failed");
        web.reason = Some("exit status 3\nlast \x1b[31mwords".to_owned());
        web.since = super::super::args::now();
        assert_eq!(
            instances(&[web], &Out::new(Format::Text)),
            "INSTANCE   VERSION   NODE   ADDRESS           STATE    FOR     RESTARTS   REASON\n\
             web-1      2         n1     127.0.0.1:20001   failed   0.0 s   0          exit status 3\n\
             \nweb-1:\n  last \u{fffd}[31mwords\n"
        );
    }
}
