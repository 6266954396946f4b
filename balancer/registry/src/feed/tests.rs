//! A reader and a registry that goes away, on a clock that is only told to pass.

use std::sync::Mutex;

use hancock_proto::ids::Term;
use hancock_proto::registry::{Batch, Fence};

use super::*;
use crate::fake::Fake;

/// Writes down what it is told.
#[derive(Default)]
struct Served {
    docs: Mutex<BTreeMap<ServiceName, Option<f64>>>,
    changed: watch::Sender<u64>,
}

impl Served {
    fn of(&self, name: &str) -> Option<f64> {
        *self.docs.lock().unwrap().get(name)?
    }
}

impl Sink for Served {
    fn apply(&self, name: &ServiceName, doc: Option<Arc<UpstreamDoc>>) -> Result<(), String> {
        let doc = doc.and_then(|doc| doc.timeout);
        self.docs.lock().unwrap().insert(name.clone(), doc);
        Ok(())
    }

    fn settled(&self) -> Settled {
        Settled::default()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

async fn put(fake: &Fake, name: &str, timeout: f64) {
    let doc = UpstreamDoc {
        timeout: Some(timeout),
        ..UpstreamDoc::default()
    };
    let batch = Batch {
        app: "web".parse().unwrap(),
        changes: [(name.parse().unwrap(), Some(Arc::new(doc)))].into(),
    };
    fake.publish(&batch, &fence()).await.unwrap();
}

fn fence() -> Fence {
    Fence {
        cluster: "c".parse().unwrap(),
        term: Term(1),
    }
}

fn reader() -> Reader {
    Reader {
        id: "lb-1".to_owned(),
        node: "n1".parse().unwrap(),
        boot: "b1".parse().unwrap(),
    }
}

/// A feed over a store with one document, which is served.
async fn followed() -> (
    Fake,
    Arc<Served>,
    Arc<Standing>,
    tokio::task::JoinHandle<()>,
) {
    let (fake, served) = (Fake::new(), Arc::<Served>::default());
    fake.raise(&fence()).await.unwrap();
    put(&fake, "web", 1.0).await;
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::open(dir.path(), "fake");
    let feed = Feed::new(Arc::new(fake.clone()), served.clone(), memory);
    let standing = feed.standing();
    let running = tokio::spawn(feed.run(Some(reader())));
    pass(Duration::from_secs(2)).await;
    assert_eq!(served.of("web"), Some(1.0));
    (fake, served, standing, running)
}

/// Time passes, and everybody does what it is time for.
async fn pass(time: Duration) {
    drop(tokio::time::timeout(time, std::future::pending::<()>()).await);
}

#[tokio::test(start_paused = true)]
async fn ten_minutes_of_partition_take_nothing_away() {
    let (fake, served, standing, running) = followed().await;
    fake.away(true);
    let calls = fake.calls();
    pass(Duration::from_secs(600)).await;
    assert_eq!(served.of("web"), Some(1.0), "what was good is served");
    let view = standing.view();
    assert!(!view.connected && view.error.is_some(), "{view:?}");
    let asked = fake.calls() - calls;
    assert!((500..2000).contains(&asked), "asked {asked} times in 600 s");
    fake.away(false);
    put(&fake, "web", 2.0).await;
    put(&fake, "other", 3.0).await;
    pass(Duration::from_secs(2)).await;
    assert_eq!(
        (served.of("web"), served.of("other")),
        (Some(2.0), Some(3.0))
    );
    let view = standing.view();
    assert!(view.connected && view.error.is_none(), "{view:?}");
    assert_eq!(fake.lists(), 1, "the watch went on where it was");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn after_a_partition_with_compaction_equal_data_changes_nothing() {
    let (fake, served, standing, running) = followed().await;
    fake.away(true);
    pass(Duration::from_secs(600)).await;
    fake.away(false);
    // Written again as it was, and everything before forgotten.
    put(&fake, "web", 1.0).await;
    fake.compact();
    let applied = standing.view().applied;
    pass(Duration::from_secs(5)).await;
    let view = standing.view();
    assert_eq!((view.lists, view.applied), (2, applied), "{view:?}");
    assert_eq!(served.of("web"), Some(1.0));
    running.abort();
}
