//! Looking at files: who has a deed is what it says. About everything else the kernel is let to speak itself.

use oci::Deed;
use oci::Device;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::Answer;
use super::Emulator;
use super::deed;
use super::process::Named;
use super::process::Process;
use crate::sys;
use crate::sys::AskingCall;

/// Where the fields are in the kernel's `struct stat` of this machine: mode, user, group, device.
const STAT: [usize; 4] =
    if cfg!(target_arch = "aarch64") { [16, 24, 28, 32] } else { [24, 28, 32, 40] };

/// The size of that structure.
const STAT_SIZE: usize = if cfg!(target_arch = "aarch64") { 128 } else { 144 };

// The same of `struct statx`, whose device is two numbers.
const STATX_USER: usize = 20;
const STATX_GROUP: usize = 24;
const STATX_MODE: usize = 28;
const STATX_DEVICE: usize = 128;

/// The bits of a mode that say what kind of file it is.
const KIND: u32 = 0o170_000;

impl Emulator {
    /// stat(2) and its kin.
    pub(super) fn stat(&self, call: &AskingCall, named: Named, to: u64) -> Result<Answer, Errno> {
        let process = Process::new(call.process);
        let Some((file, deed)) = self.find(process, named) else { return Ok(Answer::GoOn) };
        let Ok(mut bytes) = sys::stat_bytes(file) else { return Ok(Answer::GoOn) };
        let [mode, user, group, device] = STAT;
        put(&mut bytes, user, deed.uid);
        put(&mut bytes, group, deed.gid);
        if let Some(it) = deed.device {
            let old = u32::from_ne_bytes([0, 1, 2, 3].map(|place| bytes[mode + place]));
            put(&mut bytes, mode, old & !KIND | kind_of(it));
            let number = rustix::fs::makedev(it.major, it.minor);
            bytes[device..device + 8].copy_from_slice(&number.to_ne_bytes());
        }
        self.is_asking(call)?;
        process.write(to, &bytes[..STAT_SIZE])?;
        Ok(Answer::Value(0))
    }

    /// statx(2).
    pub(super) fn statx(
        &self,
        call: &AskingCall,
        named: Named,
        mask: u32,
        to: u64,
    ) -> Result<Answer, Errno> {
        let process = Process::new(call.process);
        let Some((file, deed)) = self.find(process, named) else { return Ok(Answer::GoOn) };
        let Ok(mut bytes) = sys::statx_bytes(file, mask) else { return Ok(Answer::GoOn) };
        put(&mut bytes, STATX_USER, deed.uid);
        put(&mut bytes, STATX_GROUP, deed.gid);
        if let Some(device) = deed.device {
            let old = u16::from_ne_bytes([bytes[STATX_MODE], bytes[STATX_MODE + 1]]);
            let mode = u32::from(old) & !KIND | kind_of(device);
            bytes[STATX_MODE..STATX_MODE + 2].copy_from_slice(&(mode as u16).to_ne_bytes());
            put(&mut bytes, STATX_DEVICE, device.major);
            put(&mut bytes, STATX_DEVICE + 4, device.minor);
        }
        self.is_asking(call)?;
        process.write(to, &bytes)?;
        Ok(Answer::Value(0))
    }

    /// Opens what has a deed, as a place only.
    fn find(&self, process: Process, named: Named) -> Option<(std::os::fd::OwnedFd, Deed)> {
        let found = process.look(|process| {
            let spot = process.spot(&self.root, named)?;
            let deed = deed::find(&spot)?;
            deed.map(|deed| Ok((spot.open()?, deed))).transpose()
        });
        // The kernel says what is wrong with a path.
        found.ok().flatten()
    }
}

fn kind_of(device: Device) -> u32 {
    match device.is_block {
        true => FileType::BlockDevice.as_raw_mode(),
        false => FileType::CharacterDevice.as_raw_mode(),
    }
}

fn put(bytes: &mut [u8], place: usize, number: u32) {
    bytes[place..place + 4].copy_from_slice(&number.to_ne_bytes());
}
