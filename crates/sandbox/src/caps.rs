//! Which rights of root the program has, and the change to its user.

use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use rustix::thread::Gid;
use rustix::thread::Uid;

use crate::Error;
use crate::Rights;

/// Docker's default.
pub(crate) const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Limits what any program started from here on can have, set-user-id ones included.
pub(crate) fn drop_bounding_set(rights: &Rights) -> Result<(), Error> {
    if rights.insecure {
        return Ok(());
    }
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if DEFAULT.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that this kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(Error::setup("limit capabilities")(errno)),
        }
    }
    Ok(())
}

/// Takes the program's groups, and none of the caller's.
pub(crate) fn set_groups(rights: &Rights) -> Result<(), Error> {
    let groups: Vec<Gid> = rights.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    rustix::thread::set_thread_groups(&groups).map_err(Error::setup("set the groups"))?;
    let gid = Gid::from_raw(rights.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(Error::setup("set the group id"))
}

/// Takes the program's capabilities and user. Another user than root loses all capabilities by that,
/// and nothing is inheritable or ambient, so set-user-id programs get no more than root has here
/// (CVE-2022-29162).
pub(crate) fn set_user(rights: &Rights) -> Result<(), Error> {
    let failed = "set the capabilities";
    rustix::thread::clear_ambient_capability_set().map_err(Error::setup(failed))?;
    let now = rustix::thread::capabilities(None).map_err(Error::setup(failed))?;
    let kept = if rights.insecure { now.permitted } else { now.permitted & DEFAULT };
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(Error::setup(failed))?;
    let uid = Uid::from_raw(rights.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(Error::setup("set the user id"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_is_dockers() {
        assert_eq!(super::DEFAULT.bits(), 0xa804_25fb);
    }
}
