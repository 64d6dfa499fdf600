#![allow(clippy::unwrap_used)] // A test may fail by panicking.
use std::sync::Mutex;

use super::*;

type Observer = Arc<dyn Fn(&Done) + Send + Sync>;

/// Models that nobody has loaded, and what was asked of them.
#[derive(Default)]
struct Shelf {
    asked: Mutex<Vec<Option<String>>>,
    observer: Mutex<Option<Observer>>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

impl Catalog for Shelf {
    fn find(&self, model: Option<&str>) -> Result<Arc<Transcriber>> {
        self.asked.lock().unwrap().push(model.map(str::to_owned));
        Err(Error::Overloaded("no worker is there".into()))
    }

    fn models(&self) -> Vec<Available> {
        let (id, revision) = ("kab".to_owned(), Some("3f".to_owned()));
        vec![Available { id, revision, since: 1, workers: 1, states: 2, busy: 1, waiting: 0 }]
    }

    fn check(&self) -> Result<()> {
        Err(Error::Overloaded("no worker is there".into()))
    }

    fn observe(&self, observer: Observer) {
        *self.observer.lock().unwrap() = Some(observer);
    }
}

fn engine(shelf: &Arc<Shelf>) -> (Arc<Engine>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    (Arc::new(Engine::new(Models::Elsewhere(shelf.clone()), &metrics)), metrics)
}

#[test]
fn a_model_is_asked_for_by_its_name_unless_that_means_any() {
    let shelf = Arc::default();
    let (engine, _) = engine(&shelf);
    for name in [
        None,
        Some(""),
        Some(" "),
        Some("whisper-1"),
        Some("gpt-4o-transcribe"),
        Some(" kab@3f "),
        Some("whisper-10"),
    ] {
        assert!(matches!(engine.find(name), Err(Error::Overloaded(_))), "{name:?}");
    }
    let asked = shelf.asked.lock().unwrap();
    let asked: Vec<Option<&str>> = asked.iter().map(Option::as_deref).collect();
    assert_eq!(asked, [None, None, None, None, None, Some("kab@3f"), Some("whisper-10")]);
}

#[test]
fn what_there_is_elsewhere_is_told_as_it_is() {
    let shelf = Arc::default();
    let (engine, _) = engine(&shelf);
    assert!(!engine.is_own());
    assert_eq!((engine.models(), engine.places()), (shelf.models(), None));
    assert!(matches!(engine.check(), Err(Error::Overloaded(_))));
    assert!(engine.check_any().is_ok(), "there is one, if not the default one");
}

#[test]
fn windows_that_are_heard_elsewhere_are_counted() {
    let shelf = Arc::default();
    let (_engine, metrics) = engine(&shelf);
    let observer = shelf.observer.lock().unwrap().take().unwrap();
    assert_eq!(metrics.windows(), 0);
    observer(&Done { heard: Default::default(), queued: Default::default() });
    assert_eq!(metrics.windows(), 1);
}

#[tokio::test]
async fn what_is_elsewhere_is_not_loaded_anew() {
    let shelf = Arc::default();
    let (engine, _) = engine(&shelf);
    let error = engine.reload().await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)) && error.to_string().contains("workers"), "{error}");
}
