//! A node as masters hear of it, where no agent runs.

use std::collections::BTreeMap;

use hancock_proto::app::Resources;
use hancock_proto::hub::Hello;
use hancock_proto::ids::Generation;
use hancock_proto::ports::PortRange;
use hancock_proto::resources::NodeInfo;
use hancock_proto::units::{Cpu, Size};

/// The first word of a node with room for anything, at its start `boot`.
pub fn hello(node: &str, boot: &str) -> Hello {
    Hello {
        info: NodeInfo {
            node: node.parse().unwrap(),
            hostname: node.into(),
            address: "127.0.0.1".into(),
            labels: BTreeMap::new(),
            capacity: Resources {
                cpu: Cpu::millicores(8000),
                memory: Size::mib(8192),
                disk: Size::mib(8192),
            },
            ports: PortRange {
                first: 20_000,
                last: 20_999,
            }
            .into(),
            runtime: "process".into(),
            kernel: String::new(),
            addresses: Vec::new(),
            arch: "x86_64".into(),
            version: "0.1.0".into(),
        },
        boot: boot.parse().unwrap(),
        generation: Generation(0),
        registry: None,
        surroundings: true,
    }
}
