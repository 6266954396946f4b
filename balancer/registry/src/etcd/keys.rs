//! Keys and values: what lies where below the prefix, and what of it is ours.

use etcd_client::KeyValue;
use hancock_proto::registry::{Fence, Reader};
use hancock_proto::service::ServiceName;
use hancock_proto::upstream::{UpstreamDoc, read};

/// The keys below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    pub(super) fn document(&self, name: &ServiceName) -> String {
        format!("{}{}", self.prefix, name.key())
    }

    pub(super) fn fence(&self) -> String {
        format!("{}hancock/fence", self.prefix)
    }

    pub(super) fn reader(&self, id: &str) -> String {
        format!("{}hancock/readers/{id}", self.prefix)
    }

    /// The first key behind those of the readers.
    pub(super) fn readers_end(&self) -> String {
        format!("{}hancock/readers0", self.prefix)
    }

    /// The reader a key is of.
    pub(super) fn reader_of(&self, kv: &KeyValue) -> Option<Reader> {
        let name = kv
            .key_str()
            .ok()?
            .strip_prefix(&self.reader(""))?
            .to_owned();
        let told = serde_json::from_slice(kv.value()).ok();
        Some(Reader { name, told })
    }

    /// From here to [`Keys::end`] lie all documents, and nothing of Hancock's own.
    pub(super) fn begin(&self) -> String {
        format!("{}upstreams/", self.prefix)
    }

    /// The first key behind the documents.
    pub(super) fn end(&self) -> String {
        format!("{}upstreams_stream0", self.prefix)
    }

    /// The service a key is of. None: somebody else's key, or one that names no service.
    pub(super) fn service(&self, key: &[u8]) -> Option<ServiceName> {
        let key = std::str::from_utf8(key).ok()?;
        ServiceName::of_key(key.strip_prefix(&self.prefix)?).ok()
    }
}

/// A stored document.
///
/// # Errors
/// What is wrong with it, in one sentence.
pub(super) fn document(value: &[u8]) -> Result<UpstreamDoc, String> {
    read::stored(value).map_err(|problem| format!("what is stored is no document: {problem}"))
}

/// The text of a document. It can always be written: it was read before.
pub(super) fn text(doc: &UpstreamDoc) -> Vec<u8> {
    serde_json::to_vec(doc).unwrap_or_default()
}

pub(super) fn fence(value: &[u8]) -> Result<Fence, String> {
    serde_json::from_slice(value).map_err(|error| format!("the stored fence is damaged: {error}"))
}

pub(super) fn fence_text(fence: &Fence) -> Vec<u8> {
    serde_json::to_vec(fence).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn documents_lie_between_begin_and_end_and_nothing_of_ours_does() {
        let keys = Keys::new("p/");
        for name in ["web.example", "web.example/api", ":3131"] {
            let name: ServiceName = name.parse().unwrap();
            let key = keys.document(&name);
            assert!(keys.begin() <= key && key < keys.end(), "{key}");
            assert_eq!(keys.service(key.as_bytes()), Some(name));
        }
        for other in [keys.fence(), keys.reader("n")] {
            assert!(other < keys.begin(), "{other}");
            assert_eq!(keys.service(other.as_bytes()), None);
        }
        for other in ["p/upstreams_old/x", "p/upstreams/", "p/upstreams/a:1", "q"] {
            assert_eq!(keys.service(other.as_bytes()), None, "{other}");
        }
    }
}
