//! `$VARIABLES` that a shell would replace and nothing here does: refused where they cannot be meant as they stand.

use super::reader::Field;

/// Texts that are the owner's own business: an app may read them with rules of its own.
const FREE: [&str; 4] = ["command", "environment", "files", "labels"];

/// Reports them.
pub fn variables(root: &Field<'_>) {
    let fields = root.entries_silently();
    for (name, field) in &fields {
        if *name == "healthcheck" {
            check(field);
        } else if !FREE.contains(name) && !name.starts_with("x-") {
            refuse(field);
        }
    }
    let of = |wanted: &str| fields.iter().find(|(name, _)| *name == wanted);
    if let Some((_, command)) = of("command") {
        ports(command, of("image").is_some());
    }
}

/// Its command is the owner's own business, too.
fn check(field: &Field<'_>) {
    let fields = field.entries_silently();
    let others = fields.iter().filter(|(name, _)| *name != "command");
    others.for_each(|(_, field)| refuse(field));
    if let Some((_, command)) = fields.iter().find(|(name, _)| *name == "command") {
        ports(command, false);
    }
}

fn refuse(field: &Field<'_>) {
    for (_, entry) in field.entries_silently() {
        refuse(&entry);
    }
    for item in field.items_silently() {
        refuse(&item);
    }
    if let Some(text) = field.raw_text().filter(|text| text.contains("${")) {
        field.problem(format!(
            "nothing replaces the variable in {text:?}; write the value itself"
        ));
    }
}

/// `$PORT` is set for the instance, but only a shell would put it in place of the word.
fn ports(command: &Field<'_>, image: bool) {
    let items = command.items_silently();
    if items.iter().filter_map(Field::raw_text).any(is_script_flag) {
        return;
    }
    for item in items {
        // An image may bring a shell that reads its arguments as a script.
        let wrong = |text: &&str| names_port(text) && (!image || !text.contains(' '));
        if let Some(text) = item.raw_text().filter(wrong) {
            item.problem(format!(
                "nothing replaces the variable in {text:?}, as no shell reads it; write {{{{ port.<name> }}}}, or run a shell: [sh, -c, \"…\"]"
            ));
        }
    }
}

/// `-c`, `-lc`: the next word is a script.
fn is_script_flag(text: &str) -> bool {
    text.len() <= 4 && text.starts_with('-') && text.ends_with('c')
}

fn names_port(text: &str) -> bool {
    let mut after = text.split('$').skip(1);
    after.any(|rest| {
        let name = rest.trim_start_matches('{');
        let rest = name.strip_prefix("PORT");
        let end = |c: char| !c.is_ascii_alphanumeric();
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || rest.starts_with(end))
    })
}
