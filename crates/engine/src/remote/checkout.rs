//! The files of a commit: fetched with as little else as the server allows, and given the looks that git means.
//!
//! Which commit it is was found out in `git`; how the program is started is in `program`.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    time::{Duration, SystemTime},
};

use plan::GitTime;
use walkdir::WalkDir;

use crate::{
    Error,
    remote::{
        Asker,
        git::{Checkout, Commit, Wanted},
        program::Git,
    },
};

/// Fetches a commit into a snapshot of its own. A failure leaves nothing.
pub(super) fn check_out(
    asker: Asker<'_>,
    git: Git<'_>,
    wanted: &Wanted,
    commit: &Commit,
) -> Result<Checkout, Error> {
    let snapshot = asker.engine.store().create_snapshot()?;
    let passing = asker.engine.store().temp_dir()?;
    let work = snapshot.fs();
    let repository = if wanted.keep_git_dir { work } else { passing.path() };
    let git = &git.writing_to(&[work, passing.path()]);
    let format = if commit.id.len() == 64 { "sha256" } else { "sha1" };
    let format = format!("--object-format={format}");
    git.run("prepare the checkout of", repository, &["init", "--quiet", &format])?;
    git.run("prepare the checkout of", repository, &["remote", "add", "--", "origin", git.url()])?;
    fetch_commit(git, repository, commit)?;

    let git_dir = repository.join(".git");
    let (git_dir, tree) = (path_arg("--git-dir=", &git_dir), path_arg("--work-tree=", work));
    let places = [git_dir.as_str(), tree.as_str()];
    let detach = ["checkout", "--quiet", "--force", "--detach", &commit.id, "--"];
    git.run("check out", work, &[&places[..], &detach].concat())?;
    if wanted.submodules && has_submodules(work)? {
        fetch_submodules(git, work, &places)?;
    }
    let time = commit_time(git, repository, commit)?;
    let modified = match wanted.mtime {
        GitTime::Checkout => None,
        GitTime::Commit => Some(SystemTime::UNIX_EPOCH + Duration::from_secs(time)),
    };
    settle(work, wanted.keep_git_dir, modified)?;
    Ok(Checkout { snapshot: snapshot.seal()?, time: i64::try_from(time).unwrap_or_default() })
}

/// The paths are the store's, whose names are UTF-8 but for the part that the user chose.
fn path_arg(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display())
}

/// Fetches one commit, with as little else as the server allows: by its reference, by its id, and at last everything.
fn fetch_commit(git: &Git<'_>, repository: &Path, commit: &Commit) -> Result<(), Error> {
    const ACTION: &str = "fetch from";
    let shallow = ["fetch", "--quiet", "--depth=1", "--no-tags", "--force", "origin"];
    let by_reference = commit.reference.as_deref().map(refspec);
    let mut attempts: Vec<Vec<&str>> = Vec::new();
    if let Some(refspec) = &by_reference {
        attempts.push([&shallow[..], &[refspec]].concat());
    }
    attempts.push([&shallow[..], &[&commit.id]].concat());
    let mut whole = vec!["fetch", "--quiet", "--no-tags", "--force", "origin"];
    whole.extend(["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]);
    whole.extend(by_reference.as_deref());
    attempts.push(whole);

    let object = format!("{}^{{commit}}", commit.id);
    let mut failure = None;
    for attempt in attempts {
        match git.run(ACTION, repository, &attempt) {
            Ok(_) => {}
            Err(error @ Error::Git { .. }) => {
                failure = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        // The reference may have moved since it was asked for.
        if git.run(ACTION, repository, &["cat-file", "-e", &object]).is_ok() {
            return Ok(());
        }
    }
    Err(failure.unwrap_or_else(|| Error::NotInRepository {
        address: git.shown().to_owned(),
        wanted: format!("the commit {}", commit.id),
    }))
}

/// Where a reference of the repository is kept here.
fn refspec(reference: &str) -> String {
    let here = match reference.strip_prefix("refs/heads/") {
        Some(branch) => format!("refs/remotes/origin/{branch}"),
        None => reference.to_owned(),
    };
    format!("+{reference}:{here}")
}

fn has_submodules(work: &Path) -> Result<bool, Error> {
    let path = work.join(".gitmodules");
    match fs::symlink_metadata(&path) {
        Ok(stat) => Ok(stat.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("find", path)(error)),
    }
}

/// Servers that send files only know nothing of depths.
fn fetch_submodules(git: &Git<'_>, work: &Path, places: &[&str]) -> Result<(), Error> {
    const ACTION: &str = "fetch the submodules of";
    let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
    let shallow = [places, &update, &["--depth=1"]].concat();
    match git.run(ACTION, work, &shallow) {
        Err(Error::Git { .. }) => git.run(ACTION, work, &[places, &update].concat()).map(drop),
        result => result.map(drop),
    }
}

/// Returns when a commit was committed, in seconds since 1970; git knows no times before that.
fn commit_time(git: &Git<'_>, repository: &Path, commit: &Commit) -> Result<u64, Error> {
    const ACTION: &str = "read the commit of";
    let text = git.run(ACTION, repository, &["show", "-s", "--format=%ct", &commit.id, "--"])?;
    Ok(text.trim().parse().unwrap_or_default())
}

/// Gives what was checked out the modes that git means, whatever the umask: 0644 or 0755. Removes the `.git` files of
/// submodules, which point to nothing, unless they are wanted.
///
/// The tree is made of names that git has checked, and no other process knows it: paths are as good as descriptors.
fn settle(work: &Path, keep_git_dir: bool, modified: Option<SystemTime>) -> Result<(), Error> {
    if !keep_git_dir {
        remove_git_files(work)?;
    }
    // Inner ones first: what is done inside changes the time of a directory.
    for entry in WalkDir::new(work).contents_first(true) {
        let entry = entry.map_err(|error| unread(work, error))?;
        let stat = entry.metadata().map_err(|error| unread(work, error))?;
        match stat.is_dir() {
            true => dress(entry.path(), &stat, 0o755, modified)?,
            false => settle_file(entry.path(), &stat, modified)?,
        }
    }
    Ok(())
}

fn remove_git_files(work: &Path) -> Result<(), Error> {
    let mut walk = WalkDir::new(work).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| unread(work, error))?;
        if entry.file_name() != ".git" {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type().is_dir() {
            true => {
                walk.skip_current_dir();
                fs::remove_dir_all(path)
            }
            false => fs::remove_file(path),
        };
        removed.map_err(Error::io("remove", path))?;
    }
    Ok(())
}

fn unread(work: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(work).to_owned();
    Error::io("read", path)(error.into())
}

fn settle_file(
    path: &Path,
    stat: &fs::Metadata,
    modified: Option<SystemTime>,
) -> Result<(), Error> {
    let kind = stat.file_type();
    if kind.is_symlink() || kind.is_fifo() || kind.is_socket() {
        return Ok(());
    }
    let is_program = stat.permissions().mode() & 0o100 != 0;
    dress(path, stat, if is_program { 0o755 } else { 0o644 }, modified)
}

fn dress(
    path: &Path,
    stat: &fs::Metadata,
    mode: u32,
    modified: Option<SystemTime>,
) -> Result<(), Error> {
    if stat.permissions().mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(Error::io("change the mode of", path))?;
    }
    if let Some(modified) = modified {
        let file = fs::File::open(path).map_err(Error::io("open", path))?;
        file.set_modified(modified).map_err(Error::io("set the times of", path))?;
    }
    Ok(())
}
