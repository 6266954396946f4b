//! Which cluster a data directory belongs to, and as which of its masters: written once by `init` or `join`, never by a start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hancock_proto::ids::ClusterId;
use hancock_proto::time::Timestamp;
use hancock_tls::Authority;
use serde::{Deserialize, Serialize};

use super::StartError;
use super::identity::{RAFT, holds_log};
use crate::access::{self, Credentials};
use crate::raft::{FOUNDER, Introduction};

/// The file, readable for its owner only.
const FILE: &str = "member.json";
/// The certificate of the cluster's authority, for other programs; nothing here reads it.
const AUTHORITY: &str = "authority.pem";
/// Highest format this version reads. It writes the lowest that says everything: a version that knows no certificates must not start on
/// a directory that has some.
const FORMAT: u32 = ENCRYPTED;
/// Format of a master that speaks plain.
const PLAIN: u32 = 1;
/// Format with an authority.
const ENCRYPTED: u32 = 2;

/// What the file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    format: u32,
    pub(super) cluster: ClusterId,
    pub(super) id: u64,
    pub(super) founder: bool,
    /// It was one of the masters: from then on an empty log means a lost one.
    pub(super) begun: bool,
    pub(super) credentials: Credentials,
    /// Where other masters were when this one joined.
    pub(super) contacts: Vec<String>,
}

/// Whether a directory is a master's of a cluster.
pub(super) fn is_there(folder: &Path) -> bool {
    folder.join(FILE).exists()
}

/// A name no other cluster has.
pub(super) fn new_cluster() -> Result<ClusterId, StartError> {
    let name = access::hex::<16>().map_err(random)?;
    let named = name.parse();
    named.map_err(|e| StartError::DataDir(format!("cannot name the cluster: {e}")))
}

/// Secrets nobody has yet; with an authority when the cluster shall be `encrypted`.
pub(super) fn new_credentials(
    cluster: &ClusterId,
    encrypted: bool,
    now: Timestamp,
) -> Result<Credentials, StartError> {
    let authority = encrypted.then(|| Authority::found(cluster, now));
    Credentials::draw(authority.transpose()?).map_err(random)
}

/// Drawn, not counted: the id of a master that was removed must not come back with another one's promises.
fn new_id() -> Result<u64, StartError> {
    let drawn = u32::from_le_bytes(access::random().map_err(random)?);
    Ok(u64::from(drawn) + FOUNDER + 1)
}

fn random(error: io::Error) -> StartError {
    StartError::DataDir(format!("cannot draw random bytes: {error}"))
}

/// Makes a new cluster's first master out of an empty directory; with an authority when the cluster shall be `encrypted`.
pub(super) fn found(folder: &Path, encrypted: bool, now: Timestamp) -> Result<Stored, StartError> {
    let cluster = new_cluster()?;
    let credentials = new_credentials(&cluster, encrypted, now)?;
    let stored = Stored {
        format: format_of(&credentials),
        cluster,
        id: FOUNDER,
        founder: true,
        begun: false,
        credentials,
        contacts: Vec::new(),
    };
    stored.create(folder)?;
    Ok(stored)
}

/// Makes an introduced master out of an empty directory.
pub(super) fn enter(folder: &Path, cluster: Introduction) -> Result<(), StartError> {
    let stored = Stored {
        format: format_of(&cluster.credentials),
        cluster: cluster.cluster,
        id: new_id()?,
        founder: false,
        begun: false,
        credentials: cluster.credentials,
        contacts: cluster.contacts,
    };
    stored.create(folder)
}

fn format_of(credentials: &Credentials) -> u32 {
    match credentials.is_encrypted() {
        true => ENCRYPTED,
        false => PLAIN,
    }
}

/// Refuses a directory that a cluster has begun in.
pub(super) fn must_be_free(folder: &Path) -> Result<(), StartError> {
    let taken = is_there(folder) || super::identity::is_there(folder) || holds_log(folder);
    if taken {
        return Err(StartError::DataDir(format!(
            "{} belongs to a cluster already; choose another --data-dir, or move this one away if that cluster is not wanted any more",
            folder.display()
        )));
    }
    Ok(())
}

/// What `init` or `join` has written.
pub(super) fn load(folder: &Path) -> Result<Stored, StartError> {
    let path = folder.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(StartError::DataDir(format!(
                "{} belongs to no cluster yet; begin one with `hancock master init`, or enter one with `hancock master join`",
                folder.display()
            )));
        }
        Err(e) => return Err(cannot("read", &path, &e)),
    };
    let damaged = |e: serde_json::Error| {
        let path = path.display();
        StartError::DataDir(format!("{path} is damaged: {e}; restore it from a copy"))
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    if let Some(found) = value["format"].as_u64().filter(|f| *f > u64::from(FORMAT)) {
        return Err(StartError::DataDir(format!(
            "{} is of format {found}, this version knows formats up to {FORMAT}: start the newer version again",
            path.display()
        )));
    }
    let stored: Stored = serde_json::from_value(value).map_err(damaged)?;
    if stored.begun && !holds_log(folder) {
        return Err(StartError::DataDir(format!(
            "the log in {} is gone, and with it what this master promised the others; remove it with `hancock master remove`, move \
             the directory away, and join again",
            folder.join(RAFT).display()
        )));
    }
    Ok(stored)
}

impl Stored {
    /// The first master of a cluster that comes back: its log is there already.
    pub(super) fn revived(
        cluster: ClusterId,
        credentials: Credentials,
    ) -> Result<Self, StartError> {
        Ok(Self {
            format: format_of(&credentials),
            cluster,
            id: new_id()?,
            founder: false,
            begun: true,
            credentials,
            contacts: Vec::new(),
        })
    }

    /// Puts it in place, instead of what was there.
    pub(super) fn put(&self, folder: &Path) -> Result<(), StartError> {
        self.publish_authority(folder)?;
        self.write(folder)
    }

    fn create(&self, folder: &Path) -> Result<(), StartError> {
        must_be_free(folder)?;
        fs::create_dir_all(folder).map_err(|e| cannot("make", folder, &e))?;
        self.publish_authority(folder)?;
        self.write(folder)
    }

    fn publish_authority(&self, folder: &Path) -> Result<(), StartError> {
        let Some(authority) = &self.credentials.authority else {
            return Ok(());
        };
        let path = folder.join(AUTHORITY);
        let written = fs::write(&path, authority.certificate());
        written.map_err(|e| cannot("write", &path, &e))
    }

    /// From now on an empty log is a lost one.
    pub(super) fn begin(&mut self, folder: &Path) -> Result<(), StartError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        self.write(folder)
    }

    fn write(&self, folder: &Path) -> Result<(), StartError> {
        let path = folder.join(FILE);
        self.replace(folder, &path)
            .map_err(|e| cannot("write", &path, &e))
    }

    fn replace(&self, folder: &Path, path: &Path) -> io::Result<()> {
        let temporary = folder.join(format!("{FILE}.tmp"));
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(folder)?.sync_all()
    }
}

fn cannot(deed: &str, path: &Path, error: &io::Error) -> StartError {
    StartError::DataDir(format!("cannot {deed} {}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn begin(folder: &Path) -> Result<Stored, StartError> {
        found(folder, true, Timestamp(0))
    }

    #[test]
    fn a_version_without_certificates_is_kept_from_those_that_are_there() {
        for (encrypted, format) in [(true, 2), (false, 1)] {
            let dir = tempfile::tempdir().unwrap();
            found(dir.path(), encrypted, Timestamp(0)).unwrap();
            let stored = load(dir.path()).unwrap();
            assert_eq!(stored.format, format);
            assert_eq!(stored.credentials.is_encrypted(), encrypted);
        }
    }

    #[test]
    fn a_directory_is_given_to_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("hancock master init"), "{error}");
        let stored = begin(dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap().cluster, stored.cluster);
        let error = begin(dir.path()).unwrap_err().to_string();
        assert!(error.contains("belongs to a cluster already"), "{error}");
        let mode = fs::metadata(dir.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lost_log_is_not_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        begin(dir.path()).unwrap().begin(dir.path()).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is gone"), "{error}");
        fs::create_dir(dir.path().join(RAFT)).unwrap();
        fs::write(dir.path().join(RAFT).join("vote"), "x").unwrap();
        assert!(load(dir.path()).unwrap().begun);
    }

    #[test]
    fn a_newer_file_and_a_single_masters_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), r#"{"format":9}"#).unwrap();
        let error = load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("format 9"), "{error}");
        let single = tempfile::tempdir().unwrap();
        super::super::identity::keep(single.path()).unwrap();
        assert!(begin(single.path()).is_err());
    }
}
