//! The values of a node's options, read one by one: every mistake is told with what was written.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use hancock_proto::resources::Uplink;
use hancock_proto::units::Cpu;

use crate::cli::dev::Runtime;

/// Most times the cores may be promised.
const MOST: f64 = 100.0;

/// `HOST:PORT`, an IPv6 address in brackets.
pub(super) fn contact(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no master's address; write HOST:PORT, like 10.0.0.1:7401");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let sound = match bare {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
        }
    };
    match port.parse::<u16>() {
        Ok(port) if port > 0 && sound => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

/// `IP[,operator=NAME][,bandwidth=RATE]`.
pub(super) fn uplink(text: &str) -> Result<Uplink, String> {
    let mut parts = text.split(',');
    let ip = parts.next().unwrap_or_default();
    let ip: IpAddr = ip.parse().map_err(|_| {
        format!("{ip:?} is no IP address; write it like 203.0.113.7,operator=telia,bandwidth=1gbps")
    })?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(format!("{ip} is no address others can reach"));
    }
    let mut uplink = Uplink {
        ip,
        operator: None,
        bandwidth: None,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("operator", name)) if !name.is_empty() => uplink.operator = Some(name.to_owned()),
            Some(("bandwidth", rate)) => {
                uplink.bandwidth = Some(rate.parse().map_err(|e| format!("bandwidth: {e}"))?);
            }
            _ => {
                return Err(format!(
                    "{part:?} says nothing about an address; there are operator=NAME and bandwidth=RATE"
                ));
            }
        }
    }
    Ok(uplink)
}

/// `0.5`.
pub(super) fn cpu(text: &str) -> Result<Cpu, String> {
    let cores = text.parse::<f64>().ok();
    let cpu = cores.and_then(|cores| Cpu::try_from(cores).ok());
    cpu.ok_or_else(|| format!("{text:?} is no number of cores; write it like 0.5 or 2"))
}

/// `1.5`.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio <= MOST => Ok(ratio),
        _ => Err(format!(
            "{text:?} is no ratio from 0 to {MOST}; write it like 1.5"
        )),
    }
}

/// `docker` or `process`.
pub(in crate::cli) fn runtime(text: &str) -> Result<Runtime, String> {
    match text {
        "docker" => Ok(Runtime::Docker),
        "process" => Ok(Runtime::Process),
        _ => Err(format!(
            "{text:?} is no runtime; there are docker and process"
        )),
    }
}

/// Where containers' ports are published: at the node's address when the machine has it itself, at every one when it is translated.
pub(super) fn publish(address: IpAddr) -> IpAddr {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => address,
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}
