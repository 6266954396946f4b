//! `volumes` and `files`: what an instance finds beside its image.

use super::ports::Ports;
use super::reader::{Field, Section};
use crate::app::{File, FileMode, Volume, VolumeKind};
use crate::template;

/// Longest file.
const LONGEST: usize = 256 << 10;
/// All files of one app together.
const MOST: usize = 512 << 10;

/// Reads `volumes`.
pub fn volumes(field: &Field<'_>) -> Vec<Volume> {
    let mut list: Vec<Volume> = Vec::new();
    for item in field.items("[{source: /data/web, target: /data}]") {
        if let Some(volume) = item.section().and_then(|section| volume(section, &list)) {
            list.push(volume);
        }
    }
    list
}

/// Whether a volume asks for a single writer, before anything of it is judged.
pub fn single_writer(field: &Field<'_>) -> bool {
    let items = field.items_silently();
    let mut flags = items
        .iter()
        .filter_map(|item| item.value()?.get("exclusive"));
    flags.any(|flag| flag == &serde_json::Value::Bool(true))
}

fn volume(mut section: Section<'_>, before: &[Volume]) -> Option<Volume> {
    let words = [
        ("bind", VolumeKind::Bind),
        ("volume", VolumeKind::Volume),
        ("tmpfs", VolumeKind::Tmpfs),
    ];
    let kind = section.field("type").word(&words, &[]).unwrap_or_default();
    let source = source(section.field("source"), kind);
    let target_field = section.field("target").required("target: /data");
    let target = target_field.folder();
    if before.iter().any(|v| Some(&v.target) == target.as_ref()) {
        target_field.problem("another volume has the same target");
    }
    let read_only = section.field("read_only").flag().unwrap_or(false);
    let size_field = section.field("size");
    if size_field.is_present() && kind != VolumeKind::Tmpfs {
        size_field.problem("only a volume of type tmpfs has one");
    }
    let size = size_field.parsed();
    let exclusive_field = section.field("exclusive");
    let exclusive = exclusive_field.flag().unwrap_or(false);
    if exclusive && kind == VolumeKind::Tmpfs {
        exclusive_field.problem("no other instance has this one's tmpfs anyway; remove the field");
    }
    if exclusive && read_only {
        exclusive_field.problem("nobody writes to it, as it is read_only; remove one of the two");
    }
    section.end();
    Some(Volume {
        kind,
        source: source?,
        target: target?,
        read_only,
        size,
        exclusive,
    })
}

fn source(field: Field<'_>, kind: VolumeKind) -> Option<String> {
    match kind {
        VolumeKind::Bind => match field.raw_text().filter(|text| is_name(text)) {
            Some(name) => field.accept(Err(format!(
                "{name:?} must begin with \"/\"; a volume of that name has type: volume"
            ))),
            None => field.required("source: /data/web").folder(),
        },
        VolumeKind::Volume => {
            let field = field.required("source: data");
            let text = field.text()?;
            match is_name(text) {
                true => Some(text.to_owned()),
                false => field.accept(Err(format!(
                    "{text:?} is no volume's name: 1 to 32 of a-z, 0-9, \"-\" and \"_\", first a letter"
                ))),
            }
        }
        VolumeKind::Tmpfs if field.is_present() => {
            field.accept(Err("a tmpfs is made anew at every start and has none"))
        }
        VolumeKind::Tmpfs => Some(String::new()),
    }
}

fn is_name(text: &str) -> bool {
    super::check::is_port_name(text)
}

/// Reads `files`.
pub fn files(field: &Field<'_>, ports: &Ports) -> Vec<File> {
    let mut list: Vec<File> = Vec::new();
    for item in field.items("[{target: /etc/web.conf, content: \"…\"}]") {
        if let Some(file) = item.section().and_then(|s| file(s, ports, &list)) {
            list.push(file);
        }
    }
    let all: usize = list.iter().map(|f| f.content.len()).sum();
    if all > MOST {
        field.problem(format!(
            "{all} bytes in all are more than the {} KiB one app may have; put them into the image or a volume",
            MOST >> 10
        ));
    }
    list
}

fn file(mut section: Section<'_>, ports: &Ports, before: &[File]) -> Option<File> {
    let target_field = section.field("target").required("target: /etc/web.conf");
    let target = target_field.folder();
    let part = |part: &str| !matches!(part, "" | "." | "..");
    if target
        .as_ref()
        .is_some_and(|t| !t.split('/').skip(1).all(part))
    {
        target_field.problem("is no plain path of a file");
    }
    if before.iter().any(|f| Some(&f.target) == target.as_ref()) {
        target_field.problem("another file has the same target");
    }
    let template = section.field("template").flag().unwrap_or(true);
    let from = section.field("from");
    if from.is_present() {
        from.problem("is read by the command line, which sends it as `content`; send that");
    }
    let content = section.field("content").required("content: \"…\"");
    let text = content.text();
    if let Some(text) = text {
        check(&content, text, template.then_some(ports));
    }
    let number = |field: Field<'_>| field.whole(0..=u64::from(u32::MAX)).map(|n| n as u32);
    let (uid, gid) = (number(section.field("uid")), number(section.field("gid")));
    let mode = mode(&section.field("mode"));
    section.end();
    Some(File {
        target: target?,
        content: text?.to_owned(),
        mode,
        uid,
        gid,
        template,
    })
}

fn check(field: &Field<'_>, text: &str, ports: Option<&Ports>) {
    if text.len() > LONGEST {
        field.problem(format!(
            "{} bytes are more than the {} KiB a file may have; put it into the image or a volume",
            text.len(),
            LONGEST >> 10
        ));
    }
    let wrong = ports.and_then(|ports| template::check(text, &ports.names()).err());
    if let Some(error) = wrong {
        // The text may be long, and the error has it.
        let error: String = error.to_string().chars().take(200).collect();
        field.problem(format!(
            "{error}; with `template: false` nothing in it is filled in"
        ));
    }
}

fn mode(field: &Field<'_>) -> FileMode {
    let mode = field.text().map(str::parse::<FileMode>);
    mode.and_then(|mode| field.accept(mode)).unwrap_or_default()
}
