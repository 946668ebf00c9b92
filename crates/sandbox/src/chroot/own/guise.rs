//! Being the user whose program asks: only as that user may this process read its memory and what it has open, for it has no
//! right over the processes of others, as no root of an ordinary container has.

use std::fs;

use rustix::io::Errno;
use rustix::thread::Gid;
use rustix::thread::Uid;

/// Who a process is, if it is one user and one group all the way: nobody else may read its memory.
fn who(status: &str) -> Option<(Uid, Gid)> {
    let single = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let mut ids = line.split_whitespace();
        let first: u32 = ids.next()?.parse().ok()?;
        let all = ids.all(|id| id.parse() == Ok(first));
        all.then_some(first)
    };
    Some((Uid::from_raw(single("Uid:")?), Gid::from_raw(single("Gid:")?)))
}

/// As long as it lives, this thread is another user to whoever checks its rights. It stays root at heart, so that nobody may
/// trace or signal it who could not before.
#[derive(Debug)]
pub(super) struct Guise {
    is_other: bool,
}

impl Guise {
    /// Takes that of a process; `None` if it has none that can be taken.
    pub(super) fn of(process: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let (uid, gid) = who(&status)?;
        let is_other = !uid.is_root() || !gid.is_root();
        // Made before anything is changed, so that all of it is undone.
        let guise = Self { is_other };
        if is_other {
            // The group first: who is not root any more may not change it.
            become_in_effect(None, Some(gid))
                .and_then(|()| become_in_effect(Some(uid), None))
                .ok()?;
        }
        Some(guise)
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        if self.is_other {
            // Root's id is kept in the others, so that this cannot fail.
            let _ = become_in_effect(Some(Uid::ROOT), None);
            let _ = become_in_effect(None, Some(Gid::ROOT));
        }
    }
}

/// Changes the effective ids of this thread, and of no other.
fn become_in_effect(uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
    if let Some(gid) = gid {
        rustix::thread::set_thread_res_gid(Gid::ROOT, gid, Gid::ROOT)?;
    }
    if let Some(uid) = uid {
        rustix::thread::set_thread_res_uid(Uid::ROOT, uid, Uid::ROOT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_one_user_all_the_way_is_known() {
        let status = |uids: &str, gids: &str| format!("Name:\tx\nUid:\t{uids}\nGid:\t{gids}\n");
        let same = status("7\t7\t7\t7", "8\t8\t8\t8");
        assert_eq!(who(&same), Some((Uid::from_raw(7), Gid::from_raw(8))));
        assert_eq!(who(&status("7\t0\t0\t0", "8\t8\t8\t8")), None);
        assert_eq!(who(&status("7\t7\t7\t7", "8\t8\t8\t9")), None);
        assert_eq!(who(""), None);
    }
}
