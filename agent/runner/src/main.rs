//! `hancock-runner SOCKET COMMAND…`: see the library.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(socket) = words.next().map(PathBuf::from) else {
        eprintln!("hancock-runner: usage: hancock-runner SOCKET [COMMAND…]");
        return ExitCode::from(2);
    };
    let own: Result<Vec<_>, _> = words.map(|word| CString::new(word.into_vec())).collect();
    let ran = own.map_err(std::io::Error::from);
    match ran.and_then(|own| hancock_runner::run(&socket, &own)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hancock-runner: {error}");
            ExitCode::FAILURE
        }
    }
}
