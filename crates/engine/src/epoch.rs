//! How old a context or an address is, where SOURCE_DATE_EPOCH is to be that.

use std::io::Cursor;

use dockerfile::EpochSource;
use plan::{Copy, CopySource};

use crate::{
    ContextSource, Error, NamedContext,
    context::Contexts,
    remote::{Asker, git, web},
};

/// Returns the time in seconds since 1970; `None` for what has none, as a directory.
pub(crate) fn find(
    asker: Asker<'_>,
    contexts: &Contexts,
    source: &EpochSource,
) -> Result<Option<i64>, Error> {
    match source {
        EpochSource::Context => match &asker.request.context {
            ContextSource::Git(source) => git::context_time(asker, source).map(Some),
            ContextSource::Web(address) => web::context_time(asker, address),
            ContextSource::Archive(bytes) => Ok(filetree::newest(Cursor::new(bytes))),
            ContextSource::Directory(_) | ContextSource::Nothing => Ok(None),
        },
        EpochSource::Named(name) => match contexts.named_context(name)? {
            NamedContext::Git(source) => git::context_time(asker, source).map(Some),
            NamedContext::Web(address) => web::context_time(asker, address),
            NamedContext::Scratch
            | NamedContext::Directory(_)
            | NamedContext::Image(_)
            | NamedContext::Layout { .. } => Ok(None),
        },
        EpochSource::Added(copy) => added(asker, copy),
    }
}

fn added(asker: Asker<'_>, copy: &Copy) -> Result<Option<i64>, Error> {
    match copy.sources.first() {
        Some(CopySource::Git(address)) => git::added_time(asker, copy, address).map(Some),
        Some(CopySource::Url(address)) => web::added_time(asker, copy, address),
        Some(CopySource::Path(_) | CopySource::Heredoc(_)) | None => Ok(None),
    }
}
