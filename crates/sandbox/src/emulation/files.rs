//! Giving files to somebody, and making new ones: those get a deed at once that do not belong to root.

use std::os::fd::OwnedFd;

use oci::Deed;
use oci::Device;
use rustix::fs::AtFlags;
use rustix::fs::FileType;
use rustix::fs::Gid;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Uid;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::Answer;
use super::Emulator;
use super::deed;
use super::ids::Ids;
use super::ids::SAME;
use super::process::Named;
use super::process::Parent;
use super::process::Process;
use crate::sys::AskingCall;

/// A directory that hands its group on to what is made in it.
const SET_GROUP: u32 = 0o2000;

/// What is about to be made: in this directory, which is open, and by whom it will be owned.
struct Site {
    directory: OwnedFd,
    name: Vec<u8>,
    mask: u32,
    owner: Deed,
}

impl Emulator {
    /// chown(2) and its kin.
    pub(super) fn chown(
        &self,
        call: &AskingCall,
        named: Named,
        uid: u32,
        gid: u32,
    ) -> Result<Answer, Errno> {
        let process = Process::new(call.process);
        let opened = process.look(|process| process.spot(&self.root, named)?.open());
        // The kernel says what is wrong with a path.
        let Ok(file) = opened else { return Ok(Answer::GoOn) };
        self.is_asking(call)?;
        let stat = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let old = deed::of(&file, kind);
        let ids = self.table.of(call.process);
        if !self.has(ids, CapabilitySet::CHOWN) {
            may_give(ids, &old, uid, gid)?;
        }
        // To the owner that it has. This takes the same from it as a change: set-id bits, capabilities; and fails where a
        // change would, on what is mounted read-only.
        let id = |wanted: u32| (wanted != SAME).then_some(0);
        let (user, group) = (id(uid).map(Uid::from_raw), id(gid).map(Gid::from_raw));
        rustix::fs::chownat(&file, "", user, group, AtFlags::EMPTY_PATH)?;
        let or = |wanted: u32, now: u32| if wanted == SAME { now } else { wanted };
        let new = Deed { uid: or(uid, old.uid), gid: or(gid, old.gid), device: old.device };
        if !(new.is_plain() && old.is_plain()) {
            deed::write(&file, kind, &new)?;
        }
        Ok(Answer::Value(0))
    }

    /// mknod(2).
    pub(super) fn make_node(
        &self,
        call: &AskingCall,
        (from, address): (i32, u64),
        mode: u32,
        number: u64,
    ) -> Result<Answer, Errno> {
        let kind = FileType::from_raw_mode(mode);
        let is_device = is_device(kind);
        if is_device && !self.has(self.table.of(call.process), CapabilitySet::MKNOD) {
            return Err(Errno::PERM);
        }
        let Some(site) = self.site(call, (from, address), kind)? else {
            return Ok(Answer::GoOn);
        };
        let permissions = Mode::from_raw_mode(mode & 0o7777 & !site.mask);
        if !is_device {
            // A type of 0 stands for a regular file.
            let kind = if kind == FileType::Unknown { FileType::RegularFile } else { kind };
            rustix::fs::mknodat(&site.directory, &site.name[..], kind, permissions, 0)?;
            return site.seal(kind);
        }
        // The kernel takes 32 bits: 8 of the minor number, 12 of the major one, 12 of the minor one.
        let number = number as u32;
        let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
        let device = Device { is_block: kind == FileType::BlockDevice, major, minor };
        if !device.is_block && (major, minor) == (0, 0) {
            // To overlay it is a deletion, which it lets nobody make like this.
            return Err(Errno::PERM);
        }
        let file = site.create(OFlags::WRONLY, permissions)?;
        let deed = Deed { device: Some(device), ..site.owner };
        deed::write(&file, FileType::RegularFile, &deed)?;
        Ok(Answer::Value(0))
    }

    /// mkdir(2).
    pub(super) fn make_directory(
        &self,
        call: &AskingCall,
        place: (i32, u64),
        mode: u32,
    ) -> Result<Answer, Errno> {
        let kind = FileType::Directory;
        let Some(site) = self.site(call, place, kind)? else { return Ok(Answer::GoOn) };
        let mode = Mode::from_raw_mode(mode & 0o1777 & !site.mask);
        rustix::fs::mkdirat(&site.directory, &site.name[..], mode)?;
        site.seal(kind)
    }

    /// symlink(2).
    pub(super) fn make_link(
        &self,
        call: &AskingCall,
        target: u64,
        place: (i32, u64),
    ) -> Result<Answer, Errno> {
        let kind = FileType::Symlink;
        let Some(site) = self.site(call, place, kind)? else { return Ok(Answer::GoOn) };
        let process = Process::new(call.process);
        let target = process.look(|process| process.path(target))?;
        rustix::fs::symlinkat(&target[..], &site.directory, &site.name[..])?;
        site.seal(kind)
    }

    /// open(2) of a file that may have to be made.
    pub(super) fn open(
        &self,
        call: &AskingCall,
        place: (i32, u64),
        flags: u32,
        mode: u32,
    ) -> Result<Answer, Errno> {
        let flags = OFlags::from_bits_retain(flags);
        if flags.intersects(OFlags::PATH | OFlags::DIRECTORY) {
            return Ok(Answer::GoOn);
        }
        let kind = FileType::RegularFile;
        let Some(site) = self.site(call, place, kind)? else { return Ok(Answer::GoOn) };
        let there = rustix::fs::statat(&site.directory, &site.name[..], AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok() {
            // It is opened; or it is a link, and what that leads to may be made, as root's.
            return Ok(Answer::GoOn);
        }
        let mode = Mode::from_raw_mode(mode & 0o7777 & !site.mask);
        let kept = flags - (OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC);
        let file = match site.create(kept, mode) {
            Err(Errno::EXIST) => return Ok(Answer::GoOn),
            file => file?,
        };
        deed::write(&file, kind, &site.owner)?;
        Ok(Answer::File(file, flags.contains(OFlags::CLOEXEC)))
    }

    /// Looks at where something of this kind is to be made; nothing if the kernel can make it as it would anyway.
    fn site(
        &self,
        call: &AskingCall,
        (from, address): (i32, u64),
        kind: FileType,
    ) -> Result<Option<Site>, Errno> {
        let process = Process::new(call.process);
        let ids = self.table.of(call.process);
        let is_device = is_device(kind);
        let is_directory = kind == FileType::Directory;
        // The kernel says what is wrong with a path.
        let looked = process.look(|process| {
            let parent = process.parent(&self.root, from, address, is_directory)?;
            parent.map(|parent| Ok((parent.stat()?, parent))).transpose()
        });
        let Ok(Some((stat, parent))) = looked else { return Ok(None) };
        let hands_on = stat.st_mode & SET_GROUP != 0;
        if ids.user.files == 0 && ids.group.files == 0 && !hands_on && !is_device {
            return Ok(None);
        }
        let Ok(directory) = parent.open() else { return Ok(None) };
        let above = deed::of(&directory, FileType::Directory);
        let may = self.has(ids, CapabilitySet::DAC_OVERRIDE);
        if !may && !may_add(ids, &above, stat.st_mode) && !exists(&directory, &parent) {
            return Err(Errno::ACCESS);
        }
        let gid = if hands_on { above.gid } else { ids.group.files };
        let owner = Deed { uid: ids.user.files, gid, device: None };
        if owner.is_plain() && !is_device {
            return Ok(None);
        }
        let mask = process.umask().ok_or(Errno::SRCH)?;
        self.is_asking(call)?;
        Ok(Some(Site { directory, name: parent.name, mask, owner }))
    }
}

impl Site {
    /// Makes the file.
    fn create(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.directory, &self.name[..], flags | new, mode)
    }

    /// Writes down whose it is, when it has been made.
    fn seal(&self, kind: FileType) -> Result<Answer, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name[..], flags, Mode::empty())?;
        let found = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        // Else it is another one already.
        if found == kind {
            deed::write(&file, kind, &self.owner)?;
        }
        Ok(Answer::Value(0))
    }
}

/// Who has no right to it may still give what is theirs to a group of theirs.
fn may_give(ids: &Ids, now: &Deed, uid: u32, gid: u32) -> Result<(), Errno> {
    let is_own = ids.user.files == now.uid;
    let keeps_user = uid == SAME || uid == now.uid;
    let keeps_group = gid == SAME || gid == now.gid || ids.is_in(gid);
    match is_own && keeps_user && keeps_group {
        true => Ok(()),
        false => Err(Errno::PERM),
    }
}

/// Whether somebody may make something in a directory.
fn may_add(ids: &Ids, directory: &Deed, mode: u32) -> bool {
    const WRITE_AND_ENTER: u32 = 0o3;
    let bits = match () {
        () if ids.user.files == directory.uid => mode >> 6,
        () if ids.is_in(directory.gid) => mode >> 3,
        () => mode,
    };
    bits & WRITE_AND_ENTER == WRITE_AND_ENTER
}

fn is_device(kind: FileType) -> bool {
    matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
}

fn exists(directory: &OwnedFd, parent: &Parent) -> bool {
    rustix::fs::statat(directory, &parent.name[..], AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
