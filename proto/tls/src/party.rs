//! One party of a cluster: what it shows to others, and whom it believes. A new certificate counts for connections made from then on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hancock_proto::time::Timestamp;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

use crate::identity::{self, Identity};
use crate::verify::{Anchor, Masters};
use crate::{Name, Pin, TlsError};

/// A party and its newest certificate. Clones share it.
#[derive(Debug, Clone)]
pub struct Party(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: Name,
    authority: CertificateDer<'static>,
    newest: Newest,
    client: ClientConfig,
    server: ServerConfig,
}

type Newest = Arc<ArcSwap<Held>>;

#[derive(Debug)]
struct Held {
    identity: Identity,
    key: Arc<CertifiedKey>,
}

impl Held {
    fn new(identity: Identity, authority: &CertificateDer<'static>) -> Result<Self, TlsError> {
        // The authority goes along: who knows only its fingerprint cannot do without.
        let chain = vec![
            identity::certificate(&identity.signed.certificate)?,
            authority.clone(),
        ];
        let key = CertifiedKey::from_der(chain, identity::key(&identity.key)?, &provider());
        let key = key.map_err(|e| TlsError::new("use a certificate", e))?;
        Ok(Self {
            identity,
            key: Arc::new(key),
        })
    }
}

impl Party {
    /// The party that `identity` names.
    ///
    /// # Errors
    /// The certificate names nobody of a cluster, or the key is another one's.
    pub fn new(identity: Identity) -> Result<Self, TlsError> {
        let nobody = || TlsError::new("use a certificate", "it names nobody of a cluster");
        let name = identity.name().ok_or_else(nobody)?;
        let authority = identity::certificate(&identity.signed.authority)?;
        let newest = Arc::new(ArcSwap::from_pointee(Held::new(identity, &authority)?));
        let shown = Arc::new(Shown(newest.clone()));
        let client = client(Anchor::Authority(authority.clone()))?;
        Ok(Self(Arc::new(Shared {
            name,
            client: client.with_client_cert_resolver(shown.clone()),
            server: server(authority.clone(), shown)?,
            authority,
            newest,
        })))
    }

    /// Shows a newer certificate from now on.
    ///
    /// # Errors
    /// It is another party's, or of another authority.
    pub fn renew(&self, identity: Identity) -> Result<(), TlsError> {
        let authority = identity::certificate(&identity.signed.authority)?;
        if identity.name().as_ref() != Some(&self.0.name) || authority != self.0.authority {
            let reason = "it is of another party or of another authority";
            return Err(TlsError::new("take over a new certificate", reason));
        }
        let held = Held::new(identity, &self.0.authority)?;
        self.0.newest.store(Arc::new(held));
        Ok(())
    }

    /// Who it is.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The fingerprint of its authority.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.0.authority)
    }

    /// The newest certificate and key.
    pub fn identity(&self) -> Identity {
        self.0.newest.load().identity.clone()
    }

    /// Whether it needs a new certificate.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.0.newest.load().identity.signed.is_due(now)
    }

    /// For connections to masters of its cluster, which get to see its certificate.
    pub fn client(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut config = self.0.client.clone();
        finish(&mut config, protocols);
        Arc::new(config)
    }

    /// For a door of this master. Callers may come without a certificate; one they show must be of the cluster.
    pub fn server(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config = self.0.server.clone();
        config.alpn_protocols = alpn(protocols);
        Arc::new(config)
    }
}

/// For connections to masters of whose authority only the fingerprint is known.
///
/// # Errors
/// The TLS library refuses the configuration.
pub fn pinned(pin: Pin, protocols: &[&str]) -> Result<ClientConfig, TlsError> {
    let mut config = client(Anchor::Pin(pin))?.with_no_client_auth();
    finish(&mut config, protocols);
    Ok(config)
}

type Unfinished = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client(anchor: Anchor) -> Result<Unfinished, TlsError> {
    let provider = provider();
    let verifier = Arc::new(Masters::new(anchor, &provider));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| TlsError::new("set up TLS", e))?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn server(authority: CertificateDer<'static>, shown: Arc<Shown>) -> Result<ServerConfig, TlsError> {
    let cannot = |e: &dyn std::fmt::Display| TlsError::new("set up TLS", e.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(|e| cannot(&e))?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|e| cannot(&e))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| cannot(&e))?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(shown);
    // A resumed session would outlive the certificates it began with.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn finish(config: &mut ClientConfig, protocols: &[&str]) {
    config.alpn_protocols = alpn(protocols);
    config.resumption = Resumption::disabled();
}

fn alpn(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|p| p.as_bytes().to_vec()).collect()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Shows the newest certificate.
#[derive(Debug)]
struct Shown(Newest);

impl Shown {
    fn newest(&self) -> Arc<CertifiedKey> {
        self.0.load().key.clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.newest())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.newest())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
