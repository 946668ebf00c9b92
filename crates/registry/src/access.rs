//! What a request is about, as those see it who let it in: whose credentials it needs, and what a token server is asked
//! to allow (distribution-spec, "token authentication": scopes).
//!
//! How one is let in is in [`crate::auth`].

use oci::Reference;

/// What is wanted of a registry. Equal ones share a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Access {
    /// As references name it: credentials are kept by it.
    pub(crate) host: String,
    /// The path of the repository, for which there may be credentials of its own; empty for the registry as a whole.
    pub(crate) path: String,
    /// What a token server is asked for. Decided here: a registry could name a scope that nobody needs.
    pub(crate) scopes: Vec<String>,
}

impl Access {
    /// To read from a repository.
    pub(crate) fn pull(reference: &Reference) -> Self {
        Self::repository(reference, "pull")
    }

    /// To write to a repository, which means reading it as well.
    pub(crate) fn push(reference: &Reference) -> Self {
        Self::repository(reference, "pull,push")
    }

    /// To write to a repository what another one of the same registry has.
    pub(crate) fn mount(reference: &Reference, from: &Reference) -> Self {
        let mut access = Self::push(reference);
        access.scopes.push(scope(from, "pull"));
        access
    }

    /// To a registry as a whole, to see who one is there.
    pub(crate) fn registry(host: &str) -> Self {
        Self { host: host.to_owned(), path: String::new(), scopes: Vec::new() }
    }

    /// To list the repositories of a registry.
    pub(crate) fn catalog(host: &str) -> Self {
        Self { scopes: vec!["registry:catalog:*".to_owned()], ..Self::registry(host) }
    }

    fn repository(reference: &Reference, actions: &str) -> Self {
        Self {
            host: reference.host().to_owned(),
            path: reference.path().to_owned(),
            scopes: vec![scope(reference, actions)],
        }
    }
}

fn scope(reference: &Reference, actions: &str) -> String {
    format!("repository:{}:{actions}", reference.path())
}
