//! Which rights of root the program has, and the change to its user.

use rustix::io::Errno;
use rustix::thread::CapabilitiesSecureBits;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use rustix::thread::Gid;
use rustix::thread::Uid;
use serde::Deserialize;
use serde::Serialize;

use crate::Error;
use crate::Rights;

/// A set of capabilities: rights of root, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Capabilities(CapabilitySet);

impl From<u64> for Capabilities {
    /// By the kernel's bits.
    fn from(bits: u64) -> Self {
        Self(CapabilitySet::from_bits_retain(bits))
    }
}

impl From<Capabilities> for u64 {
    fn from(capabilities: Capabilities) -> Self {
        capabilities.0.bits()
    }
}

/// Names by number, as in `linux/capability.h`.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(CapabilitySet::empty());
    /// All that there are, also those that a later kernel has.
    pub const ALL: Self = Self(CapabilitySet::from_bits_retain(u64::MAX));
    /// That to change the root directory.
    pub(crate) const SYS_CHROOT: Self = Self(CapabilitySet::SYS_CHROOT);
    /// That to make device nodes.
    pub(crate) const MKNOD: Self = Self(CapabilitySet::MKNOD);
    /// Docker's default.
    pub const DEFAULT: Self = Self(
        CapabilitySet::CHOWN
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
            .union(CapabilitySet::AUDIT_WRITE),
    );

    /// The one of this name, such as `CAP_CHOWN`.
    pub fn named(name: &str) -> Option<Self> {
        let number = NAMES.iter().position(|known| *known == name)?;
        Some(Self(CapabilitySet::from_bits_retain(1 << number)))
    }

    /// Whether there is one of this name.
    pub fn is_name(name: &str) -> bool {
        Self::named(name).is_some()
    }

    /// These and the others.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These without the others.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 - others.0)
    }

    /// Whether all of the others are among these.
    pub fn contains(self, others: Self) -> bool {
        self.0.contains(others.0)
    }
}

/// Limits what any program started from here on can have, set-user-id ones included.
pub(crate) fn drop_bounding_set(rights: &Rights) -> Result<(), Error> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if rights.capabilities.0.contains(capability) {
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
    rustix::thread::clear_ambient_capability_set().map_err(Error::setup("set the capabilities"))?;
    // The change of the user needs one that the program may be without.
    keep_only(rights.capabilities.0 | CapabilitySet::SETUID)?;
    let uid = Uid::from_raw(rights.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(Error::setup("set the user id"))?;
    keep_only(rights.capabilities.0)
}

/// Takes what the program's user has of the capabilities, where there is one id only, which is root's to the kernel: another
/// user than root has none, and gets none by becoming another program.
pub(crate) fn set_only_user(rights: &Rights) -> Result<(), Error> {
    rustix::thread::clear_ambient_capability_set().map_err(Error::setup("set the capabilities"))?;
    if rights.uid == 0 {
        return keep_only(rights.capabilities.0);
    }
    let bits = CapabilitiesSecureBits::NO_ROOT;
    rustix::thread::set_capabilities_secure_bits(bits)
        .map_err(Error::setup("set the capabilities"))?;
    keep_only(CapabilitySet::empty())
}

/// Gives up all capabilities but these, and all that is inheritable.
fn keep_only(capabilities: CapabilitySet) -> Result<(), Error> {
    let failed = "set the capabilities";
    let now = rustix::thread::capabilities(None).map_err(Error::setup(failed))?;
    let kept = now.permitted & capabilities;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(Error::setup(failed))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_the_kernels() {
        let number = |name| super::Capabilities::named(name).map(u64::from);
        assert_eq!(number("CAP_CHOWN"), Some(1));
        assert_eq!(number("CAP_SYS_ADMIN"), Some(1 << 21));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(1 << 40));
        assert_eq!(number("CAP_NONE"), None);
    }

    #[test]
    fn the_default_is_dockers() {
        assert_eq!(u64::from(super::Capabilities::DEFAULT), 0xa804_25fb);
    }
}
