//! Users and groups of an image: `/etc/passwd` and `/etc/group` inside a root, for USER and `--chown`.
//!
//! The files are the image's and not to be trusted: they are read inside the root, only if they are regular, up to
//! 10 MiB; a number never goes through them; lines that do not parse are skipped, so that no bad number becomes uid 0.

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::{Error, RootDir};

/// The most that is read of either file: what containerd and BuildKit allow.
const LIMIT: u64 = 10 << 20;

/// The largest id: the kernel's ids are 32 bits wide, but runc refuses what does not fit 31.
const MAX_ID: u32 = i32::MAX as u32;

/// Why a user or group cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PasswdError {
    /// No line of the passwd file has this name.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// The name looked for.
        name: String,
    },
    /// No line of the group file has this name.
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// The name looked for.
        name: String,
    },
    /// A number that is no user or group id.
    #[error("the id `{value}` is not between 0 and 2147483647")]
    OutOfRange {
        /// The number as written.
        value: String,
    },
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// The supplementary groups, the primary one among them, in the order of the group file.
    pub groups: Vec<u32>,
    /// The home directory; `/` when the image says nothing.
    pub home: String,
}

/// A line of a passwd file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdLine {
    /// The user's name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The primary group id.
    pub gid: u32,
    /// The home directory.
    pub home: String,
}

/// A line of a group file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    /// The group's name.
    pub name: String,
    /// The group id.
    pub gid: u32,
    /// Names of the users who have it as a supplementary group.
    pub members: Vec<String>,
}

/// Parses a passwd file; lines that are not of its form are skipped.
pub fn parse_passwd(file: &[u8]) -> Vec<PasswdLine> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let uid = number(fields.nth(1)?)?.ok()?;
        let gid = number(fields.next()?)?.ok()?;
        let home = fields.nth(1).unwrap_or_default().to_owned();
        Some(PasswdLine { name, uid, gid, home })
    };
    String::from_utf8_lossy(file).lines().filter_map(line).collect()
}

/// Parses a group file; lines that are not of its form are skipped.
pub fn parse_group(file: &[u8]) -> Vec<GroupLine> {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let gid = number(fields.nth(1)?)?.ok()?;
        let members = fields.next().unwrap_or_default().split(',');
        let members = members.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(GroupLine { name, gid, members })
    };
    String::from_utf8_lossy(file).lines().filter_map(line).collect()
}

/// Resolves the `user[:group]` of USER, as runc does: a name must be in the passwd file; a user alone has the primary group
/// of its line (a number without line: 0) and the supplementary groups of the group file; `user:group` has that group only.
/// An empty text is root.
pub fn resolve_user(root: &RootDir, spec: &str) -> Result<User, Error> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let passwd = read_passwd(root)?;
    let line = match number(user) {
        Some(uid) => {
            let uid = uid?;
            let line = passwd.into_iter().find(|line| line.uid == uid);
            // An empty name is nobody's, so no group has it as a member.
            line.unwrap_or(PasswdLine { name: String::new(), uid, gid: 0, home: String::new() })
        }
        None => passwd
            .into_iter()
            .find(|line| line.name == user)
            .ok_or_else(|| PasswdError::UnknownUser { name: user.to_owned() })?,
    };
    let (gid, groups) = match group {
        Some(group) => {
            let gid = resolve_group(root, group)?;
            (gid, vec![gid])
        }
        None => (line.gid, supplementary(root, &line)?),
    };
    let home = if line.home.is_empty() { "/".to_owned() } else { line.home };
    Ok(User { uid: line.uid, gid, groups, home })
}

/// Resolves a group by its name or number, as runc does: a name must be in the group file.
pub fn resolve_group(root: &RootDir, group: &str) -> Result<u32, Error> {
    let id = group_id(root, group)?;
    Ok(id.ok_or_else(|| PasswdError::UnknownGroup { name: group.to_owned() })?)
}

/// Resolves the `user[:group]` of `--chown`, as BuildKit does: a number alone is also the group; a name brings the group
/// of its line; a name that is not found is 0. Only in an empty root (FROM scratch) a name is an error: there is no file
/// that it could have been meant for.
pub fn resolve_owner(root: &RootDir, spec: &str) -> Result<(u32, u32), Error> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let (uid, gid) = match number(user) {
        Some(uid) => uid.map(|uid| (uid, uid))?,
        None => {
            let line = read_passwd(root)?.into_iter().find(|line| line.name == user);
            if line.is_none() && !user.is_empty() && root.is_empty()? {
                return Err(PasswdError::UnknownUser { name: user.to_owned() }.into());
            }
            line.map_or((0, 0), |line| (line.uid, line.gid))
        }
    };
    let Some(group) = group.filter(|group| !group.is_empty()) else { return Ok((uid, gid)) };
    match group_id(root, group)? {
        Some(gid) => Ok((uid, gid)),
        None if root.is_empty()? => {
            Err(PasswdError::UnknownGroup { name: group.to_owned() }.into())
        }
        None => Ok((uid, gid)),
    }
}

/// Says whether `--chown` needs the files of the root file system, whose content is then part of the key.
pub fn owner_needs_files(spec: &str) -> bool {
    spec.split(':').any(|part| !part.is_empty() && number(part).is_none())
}

fn supplementary(root: &RootDir, user: &PasswdLine) -> Result<Vec<u32>, Error> {
    let mut groups: Vec<u32> = read_group(root)?
        .into_iter()
        .filter(|line| line.members.contains(&user.name) && !user.name.is_empty())
        .map(|line| line.gid)
        .collect();
    if !groups.contains(&user.gid) {
        groups.insert(0, user.gid);
    }
    Ok(groups)
}

fn group_id(root: &RootDir, group: &str) -> Result<Option<u32>, Error> {
    match number(group) {
        Some(gid) => Ok(Some(gid?)),
        None => {
            Ok(read_group(root)?.into_iter().find(|line| line.name == group).map(|line| line.gid))
        }
    }
}

fn read_passwd(root: &RootDir) -> Result<Vec<PasswdLine>, Error> {
    Ok(parse_passwd(&root.read_file("/etc/passwd", LIMIT)?.unwrap_or_default()))
}

fn read_group(root: &RootDir) -> Result<Vec<GroupLine>, Error> {
    Ok(parse_group(&root.read_file("/etc/group", LIMIT)?.unwrap_or_default()))
}

/// Reads an id; `None` when the text is a name. What looks like a number is never a name, however large.
fn number(text: &str) -> Option<Result<u32, PasswdError>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let id = text.parse().ok().filter(|id| *id <= MAX_ID);
    Some(id.ok_or_else(|| PasswdError::OutOfRange { value: text.to_owned() }))
}
