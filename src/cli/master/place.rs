//! Where a master lives: its name, its directory, its addresses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::bail;
use hancock_master::Member;
use hancock_registry::Opener;

use crate::boot::{self, DataDir};
use crate::cli::{balancer, dev, etcd};

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const API: SocketAddr = loopback(7400);
const AGENTS: SocketAddr = loopback(7401);
const PEERS: SocketAddr = loopback(7402);

/// Folder of the data directory that belongs to the master.
const FOLDER: &str = "master";

/// Options of a master; each is a key of the file given with --config as well.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// TOML file with these options, like peers = "10.0.0.1:7402"; the command line goes before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its name, unique among the masters [default: the host name]
    #[arg(long)]
    name: Option<String>,
    /// Where its state is kept [default: in the user's state directory, ~/.local/state/hancock]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where people and programs reach it [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR", value_parser = dev::address)]
    api: Option<SocketAddr>,
    /// Where agents reach it [default: 127.0.0.1:7401]
    #[arg(long, value_name = "ADDR", value_parser = dev::address)]
    agents: Option<SocketAddr>,
    /// Where other masters reach it [default: 127.0.0.1:7402]
    #[arg(long, value_name = "ADDR", value_parser = dev::address)]
    peers: Option<SocketAddr>,
    /// Host name or IP under which others reach this machine [default: the IP of each address]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// With init: begin a cluster without certificates, whose masters speak plain. With join and run: listen beyond this machine although
    /// the cluster speaks plain, so that who can read the network can read the tokens
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    insecure: Option<bool>,
    /// Certificates and password for the registry chosen with `hancock registry set`; they stay with this process.
    #[command(flatten)]
    registry: etcd::Args,
}

/// Where a master lives, complete.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: String,
    data_dir: PathBuf,
    pub(super) api: SocketAddr,
    pub(super) agents: SocketAddr,
    pub(super) peers: SocketAddr,
    advertise: Option<String>,
    pub(super) insecure: bool,
    /// Opens registries outside.
    pub(super) registries: Opener,
}

impl Args {
    /// With what the file says, and what is usual.
    ///
    /// # Errors
    /// The file cannot be read, or an address would let the network in.
    pub(super) fn place(self) -> anyhow::Result<Place> {
        let file = match &self.config {
            Some(path) => balancer::config::read(path, "master run")?,
            None => Self::default(),
        };
        let name = match self.name.or(file.name) {
            Some(name) => name,
            None => boot::host_name()?,
        };
        let data_dir = self.data_dir.or(file.data_dir);
        let place = Place {
            name,
            data_dir: data_dir.unwrap_or_else(|| boot::default_data_dir().join("cluster")),
            api: self.api.or(file.api).unwrap_or(API),
            agents: self.agents.or(file.agents).unwrap_or(AGENTS),
            peers: self.peers.or(file.peers).unwrap_or(PEERS),
            advertise: self.advertise.or(file.advertise),
            insecure: self.insecure.or(file.insecure).unwrap_or(false),
            registries: self.registry.over(file.registry).opener()?,
        };
        place.must_be_reachable()?;
        Ok(place)
    }
}

impl Place {
    fn doors(&self) -> [(&'static str, SocketAddr); 3] {
        [
            ("api", self.api),
            ("agents", self.agents),
            ("peers", self.peers),
        ]
    }

    /// Refuses doors that let the network in, when the cluster has no certificates and nobody has said that this is wanted.
    pub(super) fn must_be_closed(&self, encrypted: bool) -> anyhow::Result<()> {
        for (door, address) in self.doors() {
            if !address.ip().is_loopback() && !self.insecure && !encrypted {
                bail!(
                    "{door} = {address} can be reached from other machines, and this cluster was begun without certificates, so nothing is \
                     encrypted: listen on 127.0.0.1, begin another cluster with `hancock master init`, or accept with --insecure that who \
                     can read the network can read the tokens"
                );
            }
        }
        Ok(())
    }

    fn must_be_reachable(&self) -> anyhow::Result<()> {
        for (door, address) in self.doors() {
            if address.ip().is_unspecified() && self.advertise.is_none() {
                bail!(
                    "{door} = {address} is no address others can use; name this machine's with --advertise HOST"
                );
            }
        }
        Ok(())
    }

    /// What others are told.
    pub(super) fn member(&self) -> Member {
        let told = |address: SocketAddr| match &self.advertise {
            Some(host) => format!("{host}:{}", address.port()),
            None => address.to_string(),
        };
        Member {
            name: self.name.clone(),
            peers: told(self.peers),
            api: told(self.api),
            agents: told(self.agents),
            ..Member::of_this_version()
        }
    }

    /// The data directory, held by this process.
    pub(super) fn open(&self) -> anyhow::Result<DataDir> {
        DataDir::open(&self.data_dir)
    }
}

/// The master's own folder of the directory.
pub(super) fn folder(data: &DataDir) -> PathBuf {
    data.join(FOLDER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn with(api: &str, insecure: Option<bool>, advertise: Option<&str>) -> anyhow::Result<Place> {
        let args = Args {
            name: Some("m".to_owned()),
            api: Some(api.parse().unwrap()),
            insecure,
            advertise: advertise.map(str::to_owned),
            ..Args::default()
        };
        args.place()
    }

    #[test]
    fn the_network_is_let_in_with_certificates_or_on_demand() {
        let closed = |api, insecure, encrypted| {
            let place = with(api, insecure, None).unwrap();
            place.must_be_closed(encrypted).map_err(|e| e.to_string())
        };
        let error = closed("10.0.0.1:7400", None, false).unwrap_err();
        assert!(
            error.contains("api = 10.0.0.1:7400") && error.contains("--insecure"),
            "{error}"
        );
        assert_eq!(closed("10.0.0.1:7400", None, true), Ok(()));
        assert_eq!(closed("127.0.0.1:1", None, false), Ok(()));
        assert_eq!(closed("10.0.0.1:7400", Some(true), false), Ok(()));
        let error = with("0.0.0.0:7400", Some(true), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--advertise"), "{error}");
        let place = with("0.0.0.0:7400", Some(true), Some("m.example")).unwrap();
        assert_eq!(place.member().api, "m.example:7400");
        assert_eq!(place.member().peers, "m.example:7402");
    }

    #[test]
    fn what_a_locked_registry_needs_may_lie_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let [path, password] = ["master.toml", "password"].map(|name| dir.path().join(name));
        std::fs::write(&password, "secret").unwrap();
        let text = format!(
            "name = \"m1\"\nregistry = \"etcd://me@a/x\"\nregistry-password-file = {password:?}\n"
        );
        std::fs::write(&path, text).unwrap();
        let args = || Args {
            config: Some(path.clone()),
            ..Args::default()
        };
        assert!(args().place().is_ok());
        std::fs::remove_file(&password).unwrap();
        let error = args().place().unwrap_err().to_string();
        assert!(error.contains("--registry-password-file"), "{error}");
    }

    #[test]
    fn the_file_means_the_same_as_the_options() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master.toml");
        let text = "name = \"m1\"\napi = \"10.0.0.1:7400\"\ninsecure = true\n";
        std::fs::write(&path, text).unwrap();
        let args = Args {
            config: Some(path),
            name: Some("m2".to_owned()),
            ..Args::default()
        };
        let place = args.place().unwrap();
        assert_eq!((place.name.as_str(), place.insecure), ("m2", true));
        assert_eq!(place.api, "10.0.0.1:7400".parse().unwrap());
        assert_eq!(place.peers, PEERS);
    }
}
