//! A commit of a git repository: which one a reference means now, and its files.
//!
//! Each build asks the repository what the reference means (`git ls-remote`); the files of a commit that some build has
//! checked out are taken from the store. A commit's id says what its files are, so that nothing else has to be compared.
//! How files are fetched is in `checkout`, how git is started in `program`.

use filetree::Owners;
use oci::ContentDigest;
use plan::{Copy, GitMistake, GitSource, GitTime, git::is_commit_id};
use store::{Record, SnapshotId};

use crate::{
    Error,
    remote::{Asker, Fetched, Taken, checkout::check_out, key, program::Git},
};

pub(crate) use super::program::NamedBy;

/// What is wanted of a repository, by an address and the flags beside it.
#[derive(Debug)]
pub(crate) struct Wanted {
    source: GitSource,
    directory: String,
    checksum: Option<String>,
    pub(super) keep_git_dir: bool,
    pub(super) submodules: bool,
    pub(super) mtime: GitTime,
    named_by: NamedBy,
}

/// What a reference means.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    /// The id of the commit.
    pub(super) id: String,
    /// The id of the tag, if it is one with a message of its own.
    tag: Option<String>,
    /// The whole name of the reference, `refs/heads/main`; none for a commit named by its id.
    pub(super) reference: Option<String>,
}

/// The files of a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkout {
    pub(super) snapshot: SnapshotId,
    /// When it was committed, in seconds since 1970.
    pub(super) time: i64,
}

/// What a record calls that.
const TIME: &str = "time";

impl Checkout {
    fn of(record: &Record) -> Option<Self> {
        let (_, time) = record.ingredients.iter().find(|(name, _)| name == TIME)?;
        Some(Self { snapshot: record.snapshot, time: time.parse().ok()? })
    }
}

impl Wanted {
    /// Reads the address of an ADD, together with its flags.
    pub(crate) fn by_copy(copy: &Copy, address: &str) -> Result<Self, Error> {
        let shown = || plan::redact(address);
        let mistaken = |reason| Error::GitAddress { address: shown(), reason };
        let source = GitSource::parse(address).map_err(mistaken)?;
        let source = source.ok_or(Error::Lost { what: "the address of a repository" })?;
        if let (Some(flag), Some(key)) = (copy.keep_git_dir, source.keep_git_dir)
            && flag != key
        {
            return Err(inconsistent(shown(), "keep-git-dir", &flag, &key));
        }
        if let (Some(flag), Some(key)) = (&copy.checksum, &source.checksum)
            && flag != key
        {
            return Err(inconsistent(shown(), "checksum", flag, key));
        }
        let keep = copy.keep_git_dir.or(source.keep_git_dir).unwrap_or(false);
        Self::new(source, copy.checksum.clone(), keep, NamedBy::Dockerfile)
    }

    /// What a context wants.
    pub(crate) fn by_user(source: &GitSource, keep_git_dir: bool) -> Result<Self, Error> {
        let keep = source.keep_git_dir.unwrap_or(keep_git_dir);
        Self::new(source.clone(), None, keep, NamedBy::User)
    }

    fn new(
        source: GitSource,
        checksum: Option<String>,
        keep_git_dir: bool,
        named_by: NamedBy,
    ) -> Result<Self, Error> {
        let mistaken =
            |reason: GitMistake| Error::GitAddress { address: source.to_string(), reason };
        let directory = source.directory().map_err(mistaken)?;
        let checksum = checksum.or_else(|| source.checksum.clone());
        if let Some(checksum) = &checksum {
            plan::git::check_commit_prefix(checksum).map_err(mistaken)?;
        }
        Ok(Self {
            // A part of a repository is none.
            keep_git_dir: keep_git_dir && directory.is_empty(),
            directory,
            checksum: checksum.map(|checksum| checksum.to_ascii_lowercase()),
            submodules: source.submodules.unwrap_or(true),
            mtime: source.mtime.unwrap_or(GitTime::Checkout),
            source,
            named_by,
        })
    }

    /// The commit, if the address says it by itself.
    fn fixed_commit(&self) -> Option<&str> {
        let reference = self.source.reference.as_deref();
        let checksum = self.checksum.as_deref().filter(|checksum| is_commit_id(checksum));
        match reference {
            Some(reference) if is_commit_id(reference) => Some(reference),
            Some(_) if self.source.fetch_by_commit => checksum,
            Some(_) => None,
            None => checksum,
        }
    }

    fn check(&self, commit: &Commit) -> Result<(), Error> {
        let Some(expected) = &self.checksum else { return Ok(()) };
        let fits = |id: &String| id.starts_with(expected.as_str());
        if fits(&commit.id) || commit.tag.as_ref().is_some_and(fits) {
            return Ok(());
        }
        let (address, expected) = (self.source.to_string(), expected.clone());
        Err(Error::Commit { address, expected, actual: commit.id.clone() })
    }

    /// Names the files of a commit as they are checked out: all of them, whatever directory is wanted.
    fn checkout_identity(&self, commit: &Commit) -> Vec<u8> {
        let mtime = match self.mtime {
            GitTime::Checkout => "checkout",
            GitTime::Commit => "commit",
        };
        // The repository counts as well: submodules may be named relative to it.
        let (url, id) = (plan::redact(&self.source.url()), &commit.id);
        let (keep, submodules) = (self.keep_git_dir, self.submodules);
        let mut identity = format!("git\n{url}\n{id}\n{submodules}\n{mtime}\n{keep}\n");
        if let Some(reference) = commit.reference.as_ref().filter(|_| keep) {
            identity.push_str(reference);
        }
        identity.into_bytes()
    }

    fn identity(&self, commit: &Commit) -> Vec<u8> {
        let mut identity = self.checkout_identity(commit);
        identity.push(b'\n');
        identity.extend_from_slice(self.directory.as_bytes());
        identity
    }
}

fn inconsistent(
    address: String,
    what: &'static str,
    flag: &dyn ToString,
    key: &dyn ToString,
) -> Error {
    Error::Inconsistent { address, what, first: flag.to_string(), second: key.to_string() }
}

/// What an ADD depends on.
///
/// Equal files of different commits are equal. With `.git` they are not: two checkouts of one commit differ there, so the
/// commit has to stand for them.
pub(crate) fn digest(asker: Asker<'_>, copy: &Copy, address: &str) -> Result<ContentDigest, Error> {
    let wanted = Wanted::by_copy(copy, address)?;
    let commit = resolve(asker, &wanted)?;
    let exclude = copy.exclude.join("\n");
    let identity = wanted.identity(&commit);
    let key = key(&[b"kiln git content 1", &identity, exclude.as_bytes()]);
    if wanted.keep_git_dir {
        return Ok(ContentDigest::new(key));
    }
    if let Some(known) = asker.engine.store().memo(&key)? {
        return Ok(ContentDigest::new(known));
    }
    let taken = super::select_all(checkout(asker, &wanted, &commit)?.0.tree(asker.engine)?, copy)?;
    let digest = taken.selection.digest(&taken.tree, &|_| asker.request.cancel.check().is_ok())?;
    asker.engine.store().put_memo(&key, digest.as_bytes())?;
    Ok(digest)
}

/// Returns what an ADD takes.
pub(crate) fn select(asker: Asker<'_>, copy: &Copy, address: &str) -> Result<Taken, Error> {
    super::select_all(fetch(asker, &Wanted::by_copy(copy, address)?)?.0.tree(asker.engine)?, copy)
}

/// Returns the files of a repository that is a context.
pub(crate) fn context(asker: Asker<'_>, source: &GitSource) -> Result<Fetched, Error> {
    fetch_context(asker, source).map(|(files, _)| files)
}

/// Returns when the commit of a context was made, in seconds since 1970.
pub(crate) fn context_time(asker: Asker<'_>, source: &GitSource) -> Result<i64, Error> {
    fetch_context(asker, source).map(|(_, time)| time)
}

/// Returns when the commit that an ADD takes was made, in seconds since 1970.
pub(crate) fn added_time(asker: Asker<'_>, copy: &Copy, address: &str) -> Result<i64, Error> {
    fetch(asker, &Wanted::by_copy(copy, address)?).map(|(_, time)| time)
}

fn fetch_context(asker: Asker<'_>, source: &GitSource) -> Result<(Fetched, i64), Error> {
    // BuildKit's argument for contexts.
    let keep = asker.request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let keep = keep
        .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
    fetch(asker, &Wanted::by_user(source, keep)?)
}

/// Returns the files of a repository, and the time of their commit.
fn fetch(asker: Asker<'_>, wanted: &Wanted) -> Result<(Fetched, i64), Error> {
    let commit = resolve(asker, wanted)?;
    checkout(asker, wanted, &commit)
}

/// Finds out which commit is meant, and whether it may be.
fn resolve(asker: Asker<'_>, wanted: &Wanted) -> Result<Commit, Error> {
    if let Some(id) = wanted.fixed_commit() {
        let commit = Commit { id: id.to_owned(), tag: None, reference: None };
        wanted.check(&commit)?;
        return Ok(commit);
    }
    let reference = wanted.source.reference.as_deref().unwrap_or("HEAD");
    let question = format!("{}\n{reference}", wanted.source.url());
    let commit = asker.remotes.commits.get(question, || list(asker, wanted, reference))?;
    wanted.check(&commit)?;
    Ok(commit)
}

fn list(asker: Asker<'_>, wanted: &Wanted, reference: &str) -> Result<Commit, Error> {
    let git = Git::new(asker, &wanted.source, wanted.named_by);
    let candidates = candidates(reference);
    let mut args = vec!["ls-remote", "--quiet", "--", git.url()];
    let peeled: Vec<String> = candidates.iter().map(|name| format!("{name}^{{}}")).collect();
    args.extend(candidates.iter().chain(&peeled).map(String::as_str));
    let directory = asker.engine.store().temp_dir()?;
    let answer = git.run("ask the repository", directory.path(), &args)?;
    let commit = choose(&answer, &candidates);
    commit.ok_or_else(|| Error::NotInRepository {
        address: git.shown().to_owned(),
        wanted: format!("ref {reference}"),
    })
}

/// The references that a name may mean. A branch goes before a tag, as for git.
fn candidates(reference: &str) -> Vec<String> {
    if reference == "HEAD" || reference.starts_with("refs/") {
        return vec![reference.to_owned()];
    }
    ["refs", "refs/heads", "refs/tags"].map(|parent| format!("{parent}/{reference}")).to_vec()
}

/// Chooses from lines of `id<tab>reference`. The server may send more than was asked for.
fn choose(answer: &str, candidates: &[String]) -> Option<Commit> {
    let id_of = |wanted: &str| {
        let pairs = answer.lines().filter_map(|line| line.split_once('\t'));
        let mut found = pairs.filter(|(id, name)| *name == wanted && is_commit_id(id));
        found.next().map(|(id, _)| id.to_owned())
    };
    candidates.iter().find_map(|name| {
        let id = id_of(name)?;
        let reference = Some(name.clone()).filter(|name| name != "HEAD");
        match id_of(&format!("{name}^{{}}")) {
            Some(commit) => Some(Commit { id: commit, tag: Some(id), reference }),
            None => Some(Commit { id, tag: None, reference }),
        }
    })
}

/// Returns the files of a commit, the store's if it has them, and the time of the commit.
fn checkout(asker: Asker<'_>, wanted: &Wanted, commit: &Commit) -> Result<(Fetched, i64), Error> {
    let identity = wanted.checkout_identity(commit);
    let checkout = asker.remotes.checkouts.get(identity.clone(), || {
        let key = key(&[b"kiln git checkout 2", &identity]);
        if let Some(known) = asker.known(&key)?.and_then(|record| Checkout::of(&record)) {
            return Ok(known);
        }
        let git = Git::new(asker, &wanted.source, wanted.named_by);
        let checkout = check_out(asker, git, wanted, commit)?;
        let description = format!("git checkout {} of {}", commit.id, wanted.source);
        let time = vec![(TIME.to_owned(), checkout.time.to_string())];
        asker.remember(&key, checkout.snapshot, description, time)?;
        Ok(checkout)
    })?;
    let fetched = Fetched {
        snapshot: checkout.snapshot,
        directory: wanted.directory.clone(),
        identity: wanted.identity(commit),
        owners: Owners::Root,
    };
    match fetched.root(asker.engine) {
        Ok(_) => Ok((fetched, checkout.time)),
        Err(_) => Err(Error::NotInRepository {
            address: wanted.source.to_string(),
            wanted: format!("the directory {}", wanted.directory),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn chosen(answer: &str, reference: &str) -> Option<(String, Option<String>, Option<String>)> {
        let answer = answer.replace("A ", &format!("{A}\t")).replace("B ", &format!("{B}\t"));
        let commit = choose(&answer, &candidates(reference))?;
        Some((commit.id, commit.tag, commit.reference))
    }

    #[test]
    fn a_name_means_a_branch_before_a_tag() {
        let name = |name: &str| Some(name.to_owned());
        for (answer, reference, expect) in [
            ("A refs/heads/x\nB refs/tags/x", "x", Some((A.into(), None, name("refs/heads/x")))),
            (
                "A refs/tags/x\nB refs/tags/x^{}",
                "x",
                Some((B.into(), name(A), name("refs/tags/x"))),
            ),
            ("A HEAD\nB refs/heads/HEAD", "HEAD", Some((A.into(), None, None))),
            ("A refs/pull/1/head", "pull/1/head", Some((A.into(), None, name("refs/pull/1/head")))),
            ("A refs/x/refs/heads/x", "x", None),
            ("x\trefs/heads/x", "x", None),
            ("", "x", None),
        ] {
            assert_eq!(chosen(answer, reference), expect, "{answer}");
        }
    }

    fn wanted(address: &str) -> Wanted {
        let source = GitSource::parse(address).unwrap().unwrap();
        Wanted::by_user(&source, false).unwrap()
    }

    #[test]
    fn some_addresses_say_the_commit() {
        let upper = A.to_uppercase();
        for (address, fixed) in [
            (format!("https://h/x.git#{A}"), true),
            (format!("https://h/x.git?commit={A}"), true),
            (format!("https://h/x.git?commit={upper}"), true),
            (format!("https://h/x.git?commit={A}#main"), false),
            (format!("https://h/x.git?commit={A}&fetch-by-commit#main"), true),
            ("https://h/x.git?commit=aaaa".to_owned(), false),
        ] {
            assert_eq!(wanted(&address).fixed_commit(), fixed.then_some(A), "{address}");
        }
    }

    #[test]
    fn a_checksum_fits_the_commit_or_its_tag() {
        let commit = Commit { id: A.to_owned(), tag: Some(B.to_owned()), reference: None };
        for (checksum, fits) in [("aaaa", true), ("BBBB", true), (A, true), ("aaab", false)] {
            let wanted = wanted(&format!("https://h/x.git?checksum={checksum}#v1"));
            assert_eq!(wanted.check(&commit).is_ok(), fits, "{checksum}");
        }
    }

    #[test]
    fn what_decides_the_files_is_in_the_identity() {
        let commit = Commit { id: A.to_owned(), tag: None, reference: Some("refs/heads/x".into()) };
        let other = Commit { id: B.to_owned(), ..commit.clone() };
        let tagged = Commit { reference: Some("refs/tags/x".into()), ..commit.clone() };
        let plain = wanted("https://h/x.git#x");
        let identity = plain.identity(&commit);
        assert_eq!(identity, plain.identity(&tagged));
        assert_ne!(identity, plain.identity(&other));
        for query in ["subdir=d", "keep-git-dir", "submodules=0", "mtime=commit"] {
            let changed = wanted(&format!("https://h/x.git?{query}#x"));
            assert_ne!(identity, changed.identity(&commit), "{query}");
        }
    }
}
