//! Why a checkpoint could not be fetched.

use std::path::PathBuf;

/// Why a checkpoint could not be fetched. `name` is how it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No name of a repository.
    #[error("{text}: {fact}; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION")]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        fact: &'static str,
    },
    /// An environment variable that can't be used.
    #[error("{name}: {fact}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        fact: String,
    },
    /// The hub does not answer, or not now.
    #[error("{name}: {endpoint} can't be reached: {fact}")]
    Unreachable {
        /// The repository.
        name: String,
        /// The hub.
        endpoint: String,
        /// What was tried, and what came of it.
        fact: String,
    },
    /// The hub is not to be asked, and the cache has no complete snapshot.
    #[error("{name}: not complete in {}, and HF_HUB_OFFLINE is set", cache.display())]
    Offline {
        /// The repository.
        name: String,
        /// Where it was looked for.
        cache: PathBuf,
    },
    /// The hub does not know the repository, or does not show it to whoever is asking.
    #[error("{name}: {endpoint} has no such repository, or it is private; {advice}")]
    NoRepository {
        /// The repository.
        name: String,
        /// The hub.
        endpoint: String,
        /// What to do about the token.
        advice: &'static str,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{name}: the repository has no such revision")]
    NoRevision {
        /// The repository.
        name: String,
    },
    /// The owner of the repository has to let one in.
    #[error("{name}: access is granted by its owner, at {page}; {advice}")]
    Gated {
        /// The repository.
        name: String,
        /// Where to ask for it.
        page: String,
        /// What to do about the token.
        advice: &'static str,
    },
    /// Another refusal.
    #[error("{name}: {url}: the hub answered with {status}")]
    Status {
        /// The repository.
        name: String,
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
    },
    /// The repository does not hold what a conversion needs, or the hub does not answer as one.
    #[error("{name}: {fact}")]
    Content {
        /// The repository.
        name: String,
        /// What is wrong.
        fact: String,
    },
    /// A file that is not what the hub says it is.
    #[error("{name}: {file}: {fact}")]
    File {
        /// The repository.
        name: String,
        /// The file in it.
        file: String,
        /// What is wrong.
        fact: String,
    },
}

impl Failure {
    /// Whether another time, or another network, could help: then what is in the cache will do.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
