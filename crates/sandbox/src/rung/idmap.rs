//! Which ids an ordinary user may use in a user namespace, and giving them to one.
//!
//! Id 0 there is the user; 1 and up are the ranges that `/etc/subuid` and `/etc/subgid` give the
//! user, in their order. Writing such a map takes privileges, which newuidmap and newgidmap have; a map of the user alone
//! takes none.

use std::fs;
use std::io;
use std::process::Command;

use rustix::process::Pid;

use crate::Error;

/// One kind of id: where its ranges stand, and what maps them.
struct Kind {
    file: &'static str,
    program: &'static str,
}

const UID: Kind = Kind { file: "/etc/subuid", program: "newuidmap" };
const GID: Kind = Kind { file: "/etc/subgid", program: "newgidmap" };

/// A range of ids: the first, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    count: u32,
}

/// Which ids a user namespace gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// The user as 0, and the ranges that the user may use.
    Ranges,
    /// The user as 0, and no other: for this nobody has to be asked.
    One,
}

/// The ids of a user.
pub(super) struct IdMap {
    user: String,
    uid: u32,
    uids: Vec<Range>,
    gid: u32,
    gids: Vec<Range>,
}

impl IdMap {
    /// Finds the ids that are asked for.
    pub(super) fn find(ids: Ids) -> Result<Self, Error> {
        match ids {
            Ids::Ranges => Self::of_caller(),
            Ids::One => {
                let uid = rustix::process::geteuid().as_raw();
                let gid = rustix::process::getegid().as_raw();
                Ok(Self { user: uid.to_string(), uid, uids: Vec::new(), gid, gids: Vec::new() })
            }
        }
    }

    /// Finds the ids of the user who runs this process.
    fn of_caller() -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let user = crate::sys::user_name(uid).unwrap_or_else(|| uid.to_string());
        let uids = ranges_of(&UID, &user, uid)?;
        let gids = ranges_of(&GID, &user, uid)?;
        Ok(Self { user, uid, uids, gid, gids })
    }

    /// Gives them to the user namespace of a process.
    pub(super) fn apply(&self, process: Pid) -> Result<(), Error> {
        if self.uids.is_empty() && self.gids.is_empty() {
            return self.write(process);
        }
        self.run(&UID, process, self.uid, &self.uids)?;
        self.run(&GID, process, self.gid, &self.gids)
    }

    /// Maps the user and the group alone. The kernel allows it if the processes there cannot give up their groups.
    fn write(&self, process: Pid) -> Result<(), Error> {
        let directory = format!("/proc/{}", process.as_raw_nonzero());
        let lines = [
            ("setgroups", "deny".to_owned()),
            ("uid_map", format!("0 {} 1", self.uid)),
            ("gid_map", format!("0 {} 1", self.gid)),
        ];
        for (file, text) in lines {
            fs::write(format!("{directory}/{file}"), text)
                .map_err(Error::setup("map the user to root"))?;
        }
        Ok(())
    }

    fn run(&self, kind: &Kind, process: Pid, own: u32, ranges: &[Range]) -> Result<(), Error> {
        let program = kind.program;
        let output = Command::new(program)
            .arg(process.as_raw_nonzero().to_string())
            .args(arguments(own, ranges).iter().map(u32::to_string))
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(Error::IdMapper {
                program,
                user: self.user.clone(),
                message: super::climb::describe(output.status, &output.stderr),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NoIdMapper { program })
            }
            Err(error) => Err(Error::setup("run `newuidmap`")(error)),
        }
    }
}

/// The triples of newuidmap: first id inside, first id outside, how many.
fn arguments(own: u32, ranges: &[Range]) -> Vec<u32> {
    let mut arguments = vec![0, own, 1];
    let mut inside = 1;
    for range in ranges {
        arguments.extend([inside, range.start, range.count]);
        inside += range.count;
    }
    arguments
}

fn ranges_of(kind: &Kind, user: &str, uid: u32) -> Result<Vec<Range>, Error> {
    let ranges = match fs::read_to_string(kind.file) {
        Ok(text) => parse(&text, user, uid),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Error::HostFile { path: kind.file.into(), source }),
    };
    if ranges.is_empty() {
        return Err(Error::NoIdRange { user: user.to_owned(), file: kind.file });
    }
    Ok(ranges)
}

/// Lines are `name:start:count` or `uid:start:count`, in the group file, too.
fn parse(text: &str, user: &str, uid: u32) -> Vec<Range> {
    let uid = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let range =
            Range { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        let fits = range.count > 0 && range.start.checked_add(range.count).is_some();
        (fits && (name == user || name == uid)).then_some(range)
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "\
            alice:100000:65536\n\
            bob:165536:65536\n\
            # a comment\n\
            1000:300000:1000\n\
            alice:broken:1\n\
            alice:4294967295:2\n\
            alice:7:0\n";
        let alice =
            [Range { start: 100_000, count: 65_536 }, Range { start: 300_000, count: 1_000 }];
        assert_eq!(parse(text, "alice", 1000), alice);
        assert_eq!(parse(text, "bob", 1001), [Range { start: 165_536, count: 65_536 }]);
        assert_eq!(parse(text, "carol", 1002), []);
    }

    #[test]
    fn ranges_follow_each_other_inside() {
        let ranges = [Range { start: 100_000, count: 10 }, Range { start: 500_000, count: 5 }];
        assert_eq!(arguments(1000, &ranges), [0, 1000, 1, 1, 100_000, 10, 11, 500_000, 5]);
    }
}
