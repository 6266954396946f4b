//! Every script under `tests/scenarios` gives the output beside it. `UPDATE=1` writes the outputs anew, to be reviewed like code.

use std::path::PathBuf;

use crate::script;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios")
}

#[test]
fn scenarios_give_what_is_written_beside_them() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        count += 1;
        let script = std::fs::read_to_string(&path).unwrap();
        let got = script::run(&script);
        let golden = path.with_extension("out");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &got).unwrap();
            continue;
        }
        let want = std::fs::read_to_string(&golden).unwrap_or_default();
        if got != want {
            wrong.push(format!("{}\n{}", path.display(), difference(&want, &got)));
        }
    }
    assert!(count > 0, "no scenario under {}", folder().display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The first line that differs, with what comes around it.
fn difference(want: &str, got: &str) -> String {
    let (want, got): (Vec<_>, Vec<_>) = (want.lines().collect(), got.lines().collect());
    let same = want.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(3);
    let part = |lines: &[&str]| {
        lines
            .iter()
            .skip(from)
            .take(8)
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    };
    format!(
        "line {}:\nwanted\n{}\ngot\n{}",
        same + 1,
        part(&want),
        part(&got)
    )
}
