//! What a master takes in hand at a time. Beyond it a request is answered at once, before its body is read: nothing waits in line.

use std::sync::Arc;

use axum::http::{Method, Uri};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Failure;
use super::limits::Limits;
use super::{BODY_LIMIT, BUSY};

/// Bodies and answers up to this size are not counted: a thousand of them are a few megabytes.
const SMALL: usize = 4 << 10;

/// Places for each class of requests, so that none keeps out another.
#[derive(Debug)]
pub(super) struct Admission {
    writes: Class,
    reads: Class,
    staying: Class,
    local: Class,
    taken: Class,
    given: Class,
}

/// What may be in hand of one kind.
#[derive(Debug)]
struct Class {
    places: Arc<Semaphore>,
    most: usize,
    noun: &'static str,
}

/// A request that was taken in hand, until it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _place: OwnedSemaphorePermit,
    _body: Option<OwnedSemaphorePermit>,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        let class = |most, noun| Class {
            places: Arc::new(Semaphore::new(most)),
            most,
            noun,
        };
        Self {
            writes: class(limits.writes, "writes"),
            reads: class(limits.reads, "reads"),
            staying: class(limits.staying, "requests that stay"),
            local: class(limits.local, "reads of its own"),
            taken: class(limits.taken, "bytes of bodies"),
            given: class(limits.given, "bytes of answers nobody has read yet"),
        }
    }

    /// A place for a request, when there is one, and for its body of at most `length`; None: it may be as long as any.
    pub(super) fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        length: Option<u64>,
    ) -> Result<Admitted, Failure> {
        let length = length.and_then(|length| usize::try_from(length).ok());
        let body = match length.unwrap_or(BODY_LIMIT).min(BODY_LIMIT) {
            small if small <= SMALL => None,
            large => Some(self.taken.take(large)?),
        };
        Ok(Admitted {
            _place: self.class(method, uri).take(1)?,
            _body: body,
        })
    }

    /// Room for an answer of this length until it is read.
    pub(super) fn answer(&self, length: u64) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        match usize::try_from(length).unwrap_or(usize::MAX) {
            small if small <= SMALL => Ok(None),
            large => self.given.take(large).map(Some),
        }
    }

    fn class(&self, method: &Method, uri: &Uri) -> &Class {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let has = |start: &str| query.split('&').any(|part| part.starts_with(start));
        let stays = ["/logs", "/exec", "/run", "/snapshot"];
        let local = ["/v1/status", "/v1/masters", "/v1/openapi.json"];
        if method != Method::GET && method != Method::HEAD {
            &self.writes
        } else if has("wait=") || stays.iter().any(|end| path.ends_with(end)) {
            &self.staying
        } else if has("stale=true") || local.contains(&path) {
            &self.local
        } else {
            &self.reads
        }
    }
}

impl Class {
    fn take(&self, many: usize) -> Result<OwnedSemaphorePermit, Failure> {
        // What is larger than all there is goes alone.
        let many = u32::try_from(many.min(self.most)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.places).try_acquire_many_owned(many);
        taken.map_err(|_| {
            let (most, noun) = (self.most, self.noun);
            let message = format!(
                "this master has as many {noun} in hand as it takes ({most}); nothing was done, try again in a second"
            );
            Failure::new(BUSY, message)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn admission(most: usize) -> Admission {
        Admission::new(&Limits {
            writes: most,
            reads: most,
            staying: most,
            local: most,
            taken: 2 * BODY_LIMIT,
            given: 100_000,
            ..Limits::default()
        })
    }

    fn admit(admission: &Admission, asked: (&str, &str)) -> Result<Admitted, Failure> {
        let (method, uri) = (asked.0.parse().unwrap(), asked.1.parse().unwrap());
        admission.admit(&method, &uri, Some(0))
    }

    #[test]
    fn each_class_has_places_of_its_own() {
        let admission = admission(1);
        let classes = [
            [("PUT", "/v1/apps/web"), ("DELETE", "/v1/apps/web")],
            [("GET", "/v1/apps"), ("HEAD", "/v1/events?after=3")],
            [
                ("GET", "/v1/events?wait=1s&stale=true"),
                ("GET", "/v1/apps/web/logs"),
            ],
            [("GET", "/v1/status"), ("GET", "/v1/apps?stale=true")],
        ];
        let hold = |[first, second]: [_; 2]| {
            let held = admit(&admission, first).unwrap();
            let full = admit(&admission, second);
            assert!(full.is_err(), "{second:?} beside {first:?}");
            held
        };
        let held = classes.map(hold);
        drop(held);
        for [first, _] in classes {
            assert!(admit(&admission, first).is_ok(), "{first:?}");
        }
    }

    #[test]
    fn large_bodies_are_counted_by_their_length_or_as_the_largest() {
        let admission = admission(100);
        let uri = "/v1/apps/web".parse().unwrap();
        let admit = |length| admission.admit(&Method::PUT, &uri, length);
        let first = admit(None).unwrap();
        let second = admit(Some(u64::MAX)).unwrap();
        assert!(admit(Some(5000)).is_err());
        assert!(admit(Some(4096)).is_ok(), "a small one is not counted");
        drop(first);
        let third = admit(Some(5000)).unwrap();
        assert!(admit(None).is_err());
        drop((second, third));
    }

    #[test]
    fn an_answer_larger_than_all_room_goes_alone() {
        let admission = admission(1);
        let alone = admission.answer(u64::MAX).unwrap();
        assert!(admission.answer(5000).is_err());
        assert!(admission.answer(4096).unwrap().is_none());
        drop(alone);
        assert!(admission.answer(5000).unwrap().is_some());
    }
}
