//! Who a process takes itself for. To the kernel all are the one id that there is; what they believe to be is a number into
//! a table of this process, and the number is in a limit of theirs that the kernel keeps, hands on to children and makes no
//! use of (`sys::lock_limit`): so a child is who its parent was, whether or not anybody heard of it.
//!
//! A process that changes that limit by itself is another one of the table, or the first: it believes what it wants to.

use rustix::io::Errno;

use crate::Rights;
use crate::sys;

/// Real, effective and saved id, and the one that counts for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Four {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) files: u32,
}

/// Who a process takes itself for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) user: Four,
    pub(super) group: Four,
    pub(super) groups: Vec<u32>,
    /// Whether root's rights stay when root becomes somebody else (`PR_SET_KEEPCAPS`), until another program is run.
    pub(super) keeps: bool,
    /// Whether they did.
    pub(super) kept: bool,
}

/// How many such there can be in a sandbox, and how many groups they can be in all together. A program that changes its
/// groups again and again shall not fill the memory of who plays root for it.
const MOST: usize = 10_000;
const MOST_GROUPS: usize = 2_000_000;

/// Stands for an id that shall stay as it is.
pub(super) const SAME: u32 = u32::MAX;

impl Four {
    fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, files: id }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// setuid(2).
    pub(super) fn set(self, id: u32, privileged: bool) -> Result<Self, Errno> {
        match id {
            SAME => Err(Errno::INVAL),
            _ if privileged => Ok(Self::all(id)),
            _ if id == self.real || id == self.saved => {
                Ok(Self { effective: id, files: id, ..self })
            }
            _ => Err(Errno::PERM),
        }
    }

    /// setreuid(2).
    pub(super) fn set_two(self, real: u32, effective: u32, may: bool) -> Result<Self, Errno> {
        let real_fits = real == SAME || real == self.real || real == self.effective;
        if !may && !(real_fits && (effective == SAME || self.has(effective))) {
            return Err(Errno::PERM);
        }
        let saves = real != SAME || (effective != SAME && effective != self.real);
        let effective = or(effective, self.effective);
        let saved = if saves { effective } else { self.saved };
        Ok(Self { real: or(real, self.real), effective, saved, files: effective })
    }

    /// setresuid(2).
    pub(super) fn set_three(
        self,
        real: u32,
        effective: u32,
        saved: u32,
        may: bool,
    ) -> Result<Self, Errno> {
        let fits = |id: u32| id == SAME || self.has(id);
        if !(may || fits(real) && fits(effective) && fits(saved)) {
            return Err(Errno::PERM);
        }
        let effective = or(effective, self.effective);
        Ok(Self {
            real: or(real, self.real),
            effective,
            saved: or(saved, self.saved),
            files: effective,
        })
    }

    /// setfsuid(2), which changes nothing if it may not.
    pub(super) fn set_files(self, id: u32, may: bool) -> Self {
        let fits = id != SAME && (may || self.has(id) || id == self.files);
        Self { files: if fits { id } else { self.files }, ..self }
    }
}

fn or(wanted: u32, now: u32) -> u32 {
    if wanted == SAME { now } else { wanted }
}

impl Ids {
    /// Those of a sandbox's first process.
    pub(super) fn of(rights: &Rights) -> Self {
        let mut groups = rights.groups.clone();
        groups.sort_unstable();
        let (user, group) = (Four::all(rights.uid), Four::all(rights.gid));
        Self { user, group, groups, keeps: false, kept: false }
    }

    /// Whether it has root's rights.
    pub(super) fn is_root(&self) -> bool {
        self.user.effective == 0 || self.kept
    }

    /// As another user.
    pub(super) fn with_user(&self, user: Four) -> Self {
        let kept = self.keeps && self.is_root() && !user.has(0);
        Self { user, kept, ..self.clone() }
    }

    /// After becoming the program in a file of this mode and owner.
    pub(super) fn in_program(&self, mode: u32, uid: u32, gid: u32) -> Self {
        const SET_USER: u32 = 0o4000;
        // Without the group's right to execute it, the bit has another meaning.
        const SET_GROUP: u32 = 0o2010;
        let (mut user, mut group) = (self.user, self.group);
        if mode & SET_USER != 0 {
            user.effective = uid;
        }
        if mode & SET_GROUP == SET_GROUP {
            group.effective = gid;
        }
        for ids in [&mut user, &mut group] {
            (ids.saved, ids.files) = (ids.effective, ids.effective);
        }
        Self { user, group, groups: self.groups.clone(), keeps: false, kept: false }
    }

    /// Whether it is in a group, as far as files are concerned.
    pub(super) fn is_in(&self, group: u32) -> bool {
        self.group.files == group || self.groups.contains(&group)
    }
}

/// All that processes of a sandbox have taken themselves for. The first is what they begin with.
#[derive(Debug)]
pub(super) struct Table(Vec<Ids>);

impl Table {
    pub(super) fn new(first: Ids) -> Self {
        Self(vec![first])
    }

    /// Who a process takes itself for.
    pub(super) fn of(&self, process: i32) -> &Ids {
        // As long as nobody has changed, nobody has to be asked.
        let number = match self.0.len() {
            1 => 0,
            _ => sys::lock_limit(process, None).unwrap_or(0),
        };
        let number = usize::try_from(number).unwrap_or(0);
        self.0.get(number).unwrap_or(&self.0[0])
    }

    /// Lets a process take itself for somebody else. Fails with `ENOMEM` for one too many.
    pub(super) fn change(&mut self, process: i32, ids: Ids) -> Result<(), Errno> {
        let number = match self.0.iter().position(|it| *it == ids) {
            Some(number) => number,
            None => self.add(ids)?,
        };
        let limit = if number == 0 { u64::MAX } else { number as u64 };
        sys::lock_limit(process, Some(limit)).map(drop).map_err(|_| Errno::PERM)
    }

    fn add(&mut self, ids: Ids) -> Result<usize, Errno> {
        let groups: usize = self.0.iter().map(|it| it.groups.len()).sum();
        if self.0.len() >= MOST || groups + ids.groups.len() > MOST_GROUPS {
            return Err(Errno::NOMEM);
        }
        self.0.push(ids);
        Ok(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(real: u32, effective: u32, saved: u32) -> Four {
        Four { real, effective, saved, files: effective }
    }

    #[test]
    fn root_becomes_somebody_and_stays_so() {
        let somebody = Four::all(0).set(7, true).unwrap();
        assert_eq!(somebody, four(7, 7, 7));
        assert_eq!(somebody.set(0, false), Err(Errno::PERM));
        assert_eq!(somebody.set_three(0, SAME, SAME, false), Err(Errno::PERM));
        assert_eq!(somebody.set(SAME, true), Err(Errno::INVAL));
    }

    #[test]
    fn root_for_a_while() {
        let away = Four::all(0).set_three(SAME, 7, SAME, true).unwrap();
        assert_eq!(away, four(0, 7, 0));
        assert_eq!(away.set(0, false), Ok(four(0, 0, 0)));
        // As by seteuid(3) of a libc that uses the other call.
        let away = Four::all(0).set_two(SAME, 7, true).unwrap();
        assert_eq!((away.real, away.effective), (0, 7));
    }

    #[test]
    fn two_ids_change_places() {
        assert_eq!(four(7, 0, 0).set_two(0, 7, false), Ok(four(0, 7, 7)));
        assert_eq!(four(7, 7, 7).set_two(0, SAME, false), Err(Errno::PERM));
    }

    #[test]
    fn programs_with_set_id_bits() {
        let ids = Ids::of(&Rights { uid: 7, gid: 8, ..Rights::default() });
        let (plain, sudo) = (ids.in_program(0o755, 0, 0), ids.in_program(0o4755, 0, 0));
        assert_eq!(plain, ids);
        assert_eq!((sudo.user, sudo.group), (four(7, 0, 0), four(8, 8, 8)));
        assert!(sudo.is_root());
        assert_eq!(ids.in_program(0o2755, 0, 9).group, four(8, 9, 9));
        assert_eq!(ids.in_program(0o2745, 0, 9).group, four(8, 8, 8));
    }

    #[test]
    fn rights_that_stay() {
        let root = Ids::of(&Rights::default());
        let gone = root.with_user(four(7, 7, 7));
        assert!(!gone.is_root());
        let kept = Ids { keeps: true, ..root }.with_user(four(7, 7, 7));
        assert!(kept.is_root());
        assert!(!kept.in_program(0o755, 0, 0).is_root());
    }

    #[test]
    fn there_is_an_end_of_others_to_be() {
        let root = Ids::of(&Rights::default());
        let mut table = Table::new(root.clone());
        let added = (1..).map_while(|id| table.add(root.with_user(Four::all(id))).ok()).count();
        assert_eq!(added, MOST - 1);

        let mut table = Table::new(root.clone());
        let crowd = |id| Ids { groups: vec![id; 65_536], ..root.clone() };
        let added = (1..).map_while(|id| table.add(crowd(id)).ok()).count();
        assert_eq!(added, MOST_GROUPS / 65_536);
    }

    #[test]
    fn the_id_for_files() {
        assert_eq!(Four::all(0).set_files(7, true).files, 7);
        assert_eq!(Four::all(5).set_files(7, false), Four::all(5));
        assert_eq!(Four::all(5).set_files(SAME, true), Four::all(5));
    }
}
