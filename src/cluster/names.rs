//! What things are called at the broker: streams, subjects, consumers, buckets. Pure.
//!
//! Subjects are words between dots, of which a model's id may have none; see
//! <https://docs.nats.io/nats-concepts/subjects>.

/// The name under which workers are found: NATS' own services API (ADR-32).
pub(super) const SERVICE: &str = "imesli-worker";
/// Where they answer who they are.
pub(super) const WHO_IS_THERE: &str = "$SRV.INFO.imesli-worker";

/// All names of an installation: several can share a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    prefix: String,
}

/// A model at the broker: its id as one word of a subject, and its revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ModelKey {
    /// What people call it.
    pub(super) id: String,
    /// Which weights and settings exactly.
    pub(super) revision: String,
}

impl ModelKey {
    /// `id.revision`, each one word.
    fn subject(&self) -> String {
        format!("{}.{}", word(&self.id), word(&self.revision))
    }

    /// `id_revision`, for names that may have no dots.
    fn name(&self) -> String {
        format!("{}_{}", word(&self.id), word(&self.revision))
    }
}

impl std::fmt::Display for ModelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

/// A name as one word of a subject, of a stream, or of a consumer.
pub(super) fn word(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    let word: String = name.chars().map(plain).take(64).collect();
    if word.is_empty() { "_".to_owned() } else { word }
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: word(prefix) }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The stream of windows that wait.
    pub(super) fn jobs(&self) -> String {
        format!("{}_jobs", self.prefix)
    }

    /// Its subjects.
    pub(super) fn all_jobs(&self) -> String {
        format!("{}.jobs.>", self.prefix)
    }

    /// Where the windows of a model go.
    pub(super) fn jobs_of(&self, model: &ModelKey) -> String {
        format!("{}.jobs.{}", self.prefix, model.subject())
    }

    /// The consumer that the workers of a model share.
    pub(super) fn workers_of(model: &ModelKey) -> String {
        format!("w_{}", model.name())
    }

    /// The stream of results.
    pub(super) fn results(&self) -> String {
        format!("{}_results", self.prefix)
    }

    /// Its subjects.
    pub(super) fn all_results(&self) -> String {
        format!("{}.results.>", self.prefix)
    }

    /// Where the result of a job of a door goes.
    pub(super) fn result(&self, door: &str, job: &str) -> String {
        format!("{}.results.{}.{}", self.prefix, word(door), word(job))
    }

    /// Where all results of a door go.
    pub(super) fn results_of(&self, door: &str) -> String {
        format!("{}.results.{}.*", self.prefix, word(door))
    }

    /// The consumer of a door.
    pub(super) fn door(door: &str) -> String {
        format!("d_{}", word(door))
    }

    /// The stream of jobs that nobody could do.
    pub(super) fn dead(&self) -> String {
        format!("{}_dead", self.prefix)
    }

    /// Its subjects.
    pub(super) fn all_dead(&self) -> String {
        format!("{}.dead.>", self.prefix)
    }

    /// Where those of a model go.
    pub(super) fn dead_of(&self, model: &ModelKey) -> String {
        format!("{}.dead.{}", self.prefix, model.subject())
    }

    /// The bucket of audio that is too large for a message.
    pub(super) fn audio(&self) -> String {
        format!("{}_audio", self.prefix)
    }

    /// The bucket of what a door has to know of each model.
    pub(super) fn models(&self) -> String {
        format!("{}_models", self.prefix)
    }

    /// Where a worker takes the windows of live streams.
    pub(super) fn live(&self, worker: &str) -> String {
        format!("{}.live.{}", self.prefix, word(worker))
    }

    /// Where the ids of jobs go that nobody wants any more.
    pub(super) fn cancel(&self) -> String {
        format!("{}.cancel", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_whatever_it_is() {
        assert_eq!(word("whisper-small_kab"), "whisper-small_kab");
        assert_eq!(word("owner/name v1.2 *>"), "owner_name_v1_2___");
        assert_eq!(word("ⵣ"), "_");
        assert_eq!(word(""), "_");
        assert_eq!(word(&"a".repeat(500)).len(), 64);
    }

    #[test]
    fn subjects_are_within_their_streams() {
        let names = Names::new("imesli");
        let model = ModelKey { id: "a.b".into(), revision: "0f".into() };
        assert_eq!(names.jobs_of(&model), "imesli.jobs.a_b.0f");
        assert_eq!(Names::workers_of(&model), "w_a_b_0f");
        assert_eq!(names.result("d.1", "j"), "imesli.results.d_1.j");
        assert_eq!(names.results_of("d.1"), "imesli.results.d_1.*");
        let within = |subject: String, all: String| subject.starts_with(all.trim_end_matches('>'));
        assert!(within(names.jobs_of(&model), names.all_jobs()));
        assert!(within(names.result("d", "j"), names.all_results()));
        assert!(within(names.dead_of(&model), names.all_dead()));
    }
}
