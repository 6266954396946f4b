//! Options that name an etcd, for every command that uses one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use hancock_proto::registry::RegistryUrl;
use hancock_registry::etcd::{Address, Etcd, Options, Tls};
use hancock_registry::{Opener, UpstreamRegistry};

/// Where upstream documents live, when not in the master's own state.
#[derive(Debug, Default, Clone, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Etcd that upstream documents live in: `etcd://[USER@]HOST[:PORT][,HOST...]/PREFIX`
    #[arg(long, value_name = "URL")]
    registry: Option<Address>,
    /// File with the password of the registry's user
    #[arg(long, value_name = "FILE")]
    registry_password_file: Option<PathBuf>,
    /// PEM file of who signs the registry's certificates; connections are TLS then
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
    /// PEM file with the certificate shown to the registry
    #[arg(long, value_name = "FILE")]
    registry_cert: Option<PathBuf>,
    /// PEM file with the key of --registry-cert
    #[arg(long, value_name = "FILE")]
    registry_key: Option<PathBuf>,
}

/// A registry, and what it is called.
pub struct Named {
    /// The registry; nothing is opened yet.
    pub registry: Arc<dyn UpstreamRegistry>,
    /// For people, and to know it again.
    pub name: String,
}

impl Args {
    /// These, and what only the file says.
    pub(super) fn over(self, file: Self) -> Self {
        Self {
            registry: self.registry.or(file.registry),
            registry_password_file: self.registry_password_file.or(file.registry_password_file),
            registry_ca: self.registry_ca.or(file.registry_ca),
            registry_cert: self.registry_cert.or(file.registry_cert),
            registry_key: self.registry_key.or(file.registry_key),
        }
    }

    /// The registry. None: none is named.
    ///
    /// # Errors
    /// A file cannot be read, or options are given that mean nothing without others.
    pub fn open(&self) -> anyhow::Result<Option<Named>> {
        let Some(address) = self.address()? else {
            return Ok(None);
        };
        let name = address.to_string();
        let tls = self.tls()?;
        let registry = Arc::new(Etcd::new(Options {
            tls,
            ..Options::new(address)
        }));
        Ok(Some(Named { registry, name }))
    }

    /// The same as the masters know it: without its password, which stays with this process. None: none is named.
    ///
    /// # Errors
    /// As [`Args::open`].
    pub fn chosen(&self) -> anyhow::Result<Option<RegistryUrl>> {
        let address = self.address()?;
        let url = address.map(|address| address.to_string().parse());
        url.transpose().context("cannot use the registry")
    }

    /// Opens registries that are chosen while it runs: with these certificates, and this one with its password.
    ///
    /// # Errors
    /// As [`Args::open`].
    pub fn opener(&self) -> anyhow::Result<Opener> {
        let (known, tls) = (self.address()?, self.tls()?);
        Ok(Opener::new(move |url| {
            let named = Address::of(url)?;
            let known = known.iter().find(|k| k.to_string() == named.to_string());
            Ok(Arc::new(Etcd::new(Options {
                tls: tls.clone(),
                ..Options::new(known.cloned().unwrap_or(named))
            })))
        }))
    }

    fn address(&self) -> anyhow::Result<Option<Address>> {
        let Some(mut address) = self.registry.clone() else {
            self.nothing_left_over()?;
            return Ok(None);
        };
        if let Some(path) = &self.registry_password_file {
            if address.user.is_none() {
                bail!(
                    "--registry-password-file needs a user; write --registry etcd://USER@HOST/PREFIX"
                );
            }
            let password = read(path, "--registry-password-file")?;
            let password = String::from_utf8_lossy(&password).trim().to_owned();
            address.password = Some(password).filter(|password| !password.is_empty());
        }
        if let (Some(user), None) = (&address.user, &address.password) {
            bail!(
                "there is no password for the registry's user {user}; give a file with --registry-password-file"
            );
        }
        Ok(Some(address))
    }

    fn nothing_left_over(&self) -> anyhow::Result<()> {
        for (flag, value) in [
            ("--registry-password-file", &self.registry_password_file),
            ("--registry-ca", &self.registry_ca),
            ("--registry-cert", &self.registry_cert),
            ("--registry-key", &self.registry_key),
        ] {
            if value.is_some() {
                bail!("{flag} means nothing without --registry URL");
            }
        }
        Ok(())
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let identity = match (&self.registry_cert, &self.registry_key) {
            (Some(cert), Some(key)) => {
                Some((read(cert, "--registry-cert")?, read(key, "--registry-key")?))
            }
            (None, None) => None,
            _ => bail!("--registry-cert and --registry-key belong together"),
        };
        match (&self.registry_ca, identity) {
            (Some(ca), identity) => Ok(Some(Tls {
                ca: read(ca, "--registry-ca")?,
                identity,
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => bail!("--registry-cert needs --registry-ca FILE"),
        }
    }
}

fn read(path: &Path, flag: &str) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    std::fs::read(path)
        .with_context(|| format!("cannot read {shown}; give another file with {flag}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn args(url: &str) -> Args {
        Args {
            registry: Some(url.parse().unwrap()),
            ..Args::default()
        }
    }

    fn told(args: &Args) -> String {
        args.open().map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_belongs_together_is_asked_for() {
        assert!(Args::default().open().unwrap().is_none());
        let named = args("etcd://a/x").open().unwrap().unwrap();
        assert_eq!(named.name, "etcd://a:2379/x");
        assert!(told(&args("etcd://me@a/x")).contains("--registry-password-file"));
        let path = Some(PathBuf::from("/nonexistent"));
        for (wrong, flag) in [
            (
                Args {
                    registry_ca: path.clone(),
                    ..Args::default()
                },
                "--registry-ca",
            ),
            (
                Args {
                    registry_ca: path.clone(),
                    ..args("etcd://a/x")
                },
                "/nonexistent",
            ),
            (
                Args {
                    registry_key: path.clone(),
                    ..args("etcd://a/x")
                },
                "--registry-cert",
            ),
            (
                Args {
                    registry_password_file: path,
                    ..args("etcd://a/x")
                },
                "USER@",
            ),
        ] {
            assert!(told(&wrong).contains(flag), "{}", told(&wrong));
        }
    }

    #[test]
    fn a_password_may_lie_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "secret\n").unwrap();
        let given = Args {
            registry_password_file: Some(path),
            ..args("etcd://me@a/x")
        };
        let address = given.address().unwrap().unwrap();
        assert_eq!(address.password.as_deref(), Some("secret"));
    }
}
