//! The two container runtimes, and how a test is run in both.

use std::path::Path;
use std::sync::OnceLock;

use hancock_testkit::{docker, image, skip};

/// What runs the instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Docker,
    Process,
}

impl Runtime {
    /// Value of `--runtime`.
    pub fn flag(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Process => "process",
        }
    }

    /// The image of the demo app, where one is needed.
    pub fn image(self) -> Option<&'static str> {
        static TAG: OnceLock<String> = OnceLock::new();
        let of_binary = || image::of(Path::new(crate::world::BINARY)).unwrap();
        (self == Runtime::Docker).then(|| TAG.get_or_init(of_binary).as_str())
    }

    /// The same with a shell and what an operator looks around with, where an image is needed.
    pub fn image_with_shell(self) -> Option<String> {
        let tools = [
            "/bin/sh",
            "/bin/cat",
            "/bin/sleep",
            "/bin/stty",
            "/bin/true",
        ];
        let of_both = || image::with(Path::new(crate::world::BINARY), &tools).unwrap();
        (self == Runtime::Docker).then(of_both)
    }

    /// The program of the demo app as the instance sees it.
    pub fn program(self) -> &'static str {
        match self {
            Runtime::Docker => "/hancock",
            Runtime::Process => crate::world::BINARY,
        }
    }

    /// Whether it can run here; says so when not.
    pub fn or_skip(self) -> Option<Self> {
        let missing = (self == Runtime::Docker).then(docker::missing).flatten();
        match missing {
            Some(reason) => {
                skip::skip(&skip::test_name(), &reason);
                None
            }
            None => Some(self),
        }
    }
}

/// Runs each `fn(Runtime)` named as one test per runtime: `in_processes::name` and `in_docker::name`.
macro_rules! in_both_runtimes {
    ($($test:ident),+ $(,)?) => {
        mod in_processes {
            $(#[test] fn $test() { super::$test($crate::runtime::Runtime::Process) })+
        }
        mod in_docker {
            $(#[test] fn $test() {
                if let Some(runtime) = $crate::runtime::Runtime::Docker.or_skip() { super::$test(runtime) }
            })+
        }
    };
}
pub(crate) use in_both_runtimes;
