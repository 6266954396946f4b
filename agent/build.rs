//! Builds the program that is the first process of containers that run jobs. Static, so that it runs in every image; a program of its own and
//! no part of the agent's, so that it is small.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, its crate and its file.
const RUNNER: &str = "hancock-runner";

/// Its profile.
const PROFILE: &str = "runner";

/// What this build was told and that one must not hear.
const OURS: [&str; 4] = [
    "CARGO_FEATURE_",
    "CARGO_CFG_",
    "CLIPPY_",
    "RUSTC_WORKSPACE_WRAPPER",
];

fn main() {
    for path in [
        "build.rs",
        "runner/src",
        "runner/Cargo.toml",
        "../Cargo.toml",
        "../Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(told("OUT_DIR"));
    let built = build(&folder(&out), &told("TARGET"));
    fs::copy(&built, out.join(RUNNER)).expect("the built program can be copied");
}

fn told(name: &str) -> String {
    env::var(name).expect("cargo says it to every build script")
}

/// Beside the output of every other crate: clippy and the build have an output each, and would have two builds of the same.
fn folder(out: &Path) -> PathBuf {
    let build = out
        .ancestors()
        .find(|path| path.file_name() == Some(OsStr::new("build")));
    let beside = build.and_then(Path::parent).unwrap_or(out);
    beside.join(PROFILE)
}

fn build(folder: &Path, target: &str) -> PathBuf {
    let mut cargo = Command::new(told("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if OURS.iter().any(|ours| name.starts_with(ours)) {
            cargo.env_remove(&*name);
        }
    }
    cargo
        .current_dir(Path::new(&told("CARGO_MANIFEST_DIR")).join(".."))
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static",
        )
        .args(["build", "--quiet", "--locked", "--bin", RUNNER])
        .args(["--package", RUNNER, "--profile", PROFILE])
        .args(["--target", target, "--target-dir"])
        .arg(folder);
    let status = cargo.status().expect("cargo can be run");
    assert!(
        status.success(),
        "{RUNNER} cannot be built; a static C library is needed, which libc6-dev (Debian) or glibc-static (Fedora) brings"
    );
    folder.join(target).join(PROFILE).join(RUNNER)
}
