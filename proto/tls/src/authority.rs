//! The authority of a cluster: made once by `hancock master init`, held by every master.

use std::time::Duration;

use hancock_proto::ids::ClusterId;
use hancock_proto::time::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType, SignatureAlgorithm,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::identity::{Identity, Signed, certificate};
use crate::{Name, Pin, Role, TlsError};

/// How long an authority is believed.
pub const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);
/// How long a certificate of a master or a node is believed.
pub const LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// A certificate is valid before it was signed, for machines whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(3600);
/// Name every master has, wherever it is.
pub(crate) const HOST: &str = "master.hancock";
/// Bytes of a public key: an uncompressed point of P-256.
const POINT: usize = 65;

/// Signs the certificates of a cluster. The greatest secret there is: who has it can be any master and any node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    cluster: ClusterId,
    /// PEM.
    certificate: String,
    /// PEM.
    key: String,
}

/// Without the key: it must not get into a log.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority of {}", self.cluster)
    }
}

/// A public key as it came over the wire.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// A new one, believed for [`AUTHORITY_LIFETIME`].
    ///
    /// # Errors
    /// No key can be drawn.
    pub fn found(cluster: &ClusterId, now: Timestamp) -> Result<Self, TlsError> {
        let cannot = |e| TlsError::new("make the cluster's authority", e);
        let key = KeyPair::generate().map_err(cannot)?;
        let mut params = params(cluster);
        (params.not_before, params.not_after) = span(now, AUTHORITY_LIFETIME)?;
        let made = params.self_signed(&key).map_err(cannot)?;
        Ok(Self {
            cluster: cluster.clone(),
            certificate: made.pem(),
            key: key.serialize_pem(),
        })
    }

    /// What tokens carry.
    ///
    /// # Errors
    /// The stored certificate is none.
    pub fn pin(&self) -> Result<Pin, TlsError> {
        certificate(&self.certificate).map(|certificate| Pin::of(&certificate))
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A new key and its certificate for `lifetime` from `now`. `hosts` are for clients that look at host names; ours do not.
    ///
    /// # Errors
    /// The stored key is none, or a name cannot be written into a certificate.
    pub fn issue(
        &self,
        role: Role,
        hosts: &[String],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Identity, TlsError> {
        let key = KeyPair::generate().map_err(|e| TlsError::new("draw a key", e))?;
        let signed = self.sign(role, hosts, key.public_key_raw(), now, lifetime)?;
        let key = key.serialize_pem();
        Ok(Identity { signed, key })
    }

    /// A certificate for somebody else's key, which stays there.
    ///
    /// # Errors
    /// As [`Authority::issue`]; or `public_key` is no point of P-256.
    pub fn sign(
        &self,
        role: Role,
        hosts: &[String],
        public_key: &[u8],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Signed, TlsError> {
        if public_key.len() != POINT || public_key[0] != 4 {
            let reason = format!("the key is no uncompressed point of P-256 ({POINT} bytes)");
            return Err(TlsError::new("sign a certificate", reason));
        }
        let signed = self.certify(role, hosts, &Point(public_key), now, lifetime)?;
        Ok(Signed {
            certificate: signed.pem(),
            authority: self.certificate.clone(),
            from: now,
            until: now + lifetime,
        })
    }

    fn certify(
        &self,
        role: Role,
        hosts: &[String],
        key: &impl PublicKeyData,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Certificate, TlsError> {
        let cannot = |e| TlsError::new("sign a certificate", e);
        let mut names = vec![];
        let mut usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Role::Master(_) = role {
            names.push(HOST.to_owned());
            names.extend_from_slice(hosts);
            usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let cluster = self.cluster.clone();
        let name = Name { cluster, role };
        let mut params = CertificateParams::new(names).map_err(cannot)?;
        let uri = name.to_string().try_into().map_err(cannot)?;
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = called(name.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = span(now, lifetime)?;
        params.signed_by(key, &self.issuer()?).map_err(cannot)
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, TlsError> {
        let key = KeyPair::from_pem(&self.key);
        let key = key.map_err(|e| TlsError::new("read the authority's key", e))?;
        Ok(Issuer::new(params(&self.cluster), key))
    }
}

/// What an authority is called, and what it may do; the times are missing.
fn params(cluster: &ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = called(format!("hancock cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn called(text: String) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn span(now: Timestamp, lifetime: Duration) -> Result<(OffsetDateTime, OffsetDateTime), TlsError> {
    Ok((date(now - BACKDATED)?, date(now + lifetime)?))
}

fn date(at: Timestamp) -> Result<OffsetDateTime, TlsError> {
    let seconds = i64::try_from(at.0 / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|e| TlsError::new("write a date", e))
}
