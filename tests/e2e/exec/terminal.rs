//! A terminal with a program on it, and somebody who types.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use hancock_testkit::wait_for;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::world::SOON;

pub struct Terminal {
    near: File,
    far: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    pub fn open(rows: u16, columns: u16) -> Self {
        let near: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let path = ptsname(&near, Vec::new()).unwrap().into_string().unwrap();
        let far = openpt_far(&path);
        let near = File::from(near);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, text) = (near.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut data = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut data) {
                text.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&data[..n]));
            }
        });
        let terminal = Self { near, far, shown };
        terminal.resize(rows, columns);
        terminal
    }

    /// Starts a program in a session of its own with this as its terminal.
    pub fn run(&self, program: &Command) -> Child {
        let far = || self.far.try_clone().unwrap();
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program.get_program())
            .args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap());
        }
        command
            .stdin(far())
            .stdout(far())
            .stderr(far())
            .spawn()
            .unwrap()
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.near, size).unwrap();
    }

    pub fn type_text(&mut self, text: &str) {
        self.near.write_all(text.as_bytes()).unwrap();
    }

    pub fn type_line(&mut self, line: &str) {
        self.type_text(&format!("{line}\r"));
    }

    pub fn text(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    pub fn shows(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    #[track_caller]
    pub fn wait_shows(&self, text: &str) {
        wait_for(&format!("{text:?} on the terminal"), SOON, || {
            if self.shows(text) {
                Ok(())
            } else {
                Err(self.text())
            }
        });
    }

    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        wait_for(what, SOON, || {
            if holds(self) {
                Ok(())
            } else {
                Err(self.text())
            }
        });
    }

    /// Waits until whoever reads it wants every key.
    #[track_caller]
    pub fn wait_raw(&self) {
        wait_for("a raw terminal", SOON, || {
            let modes = tcgetattr(&self.far).unwrap().local_modes;
            if modes.contains(LocalModes::ICANON) {
                Err(self.text())
            } else {
                Ok(())
            }
        });
    }

    /// How keys and lines are treated.
    pub fn settings(&self) -> String {
        let now = tcgetattr(&self.far).unwrap();
        format!(
            "{:?} {:?} {:?}",
            now.input_modes, now.output_modes, now.local_modes
        )
    }
}

fn openpt_far(path: &str) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let nobodys = i32::try_from(OpenptFlags::NOCTTY.bits()).unwrap();
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(nobodys)
        .open(path)
        .unwrap()
}
