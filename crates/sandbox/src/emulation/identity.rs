//! The calls about ids: who a process is told that it is, and becoming somebody else.

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::Answer;
use super::Emulator;
use super::deed;
use super::ids::Four;
use super::ids::Ids;
use super::process::Named;
use super::process::Process;
use crate::Capabilities;
use crate::sys::AskingCall;

impl Emulator {
    /// Whether somebody has a right of root's.
    pub(super) fn has(&self, ids: &Ids, right: CapabilitySet) -> bool {
        ids.is_root() && self.capabilities.contains(Capabilities::from(right.bits()))
    }

    pub(super) fn tell(&self, process: Process, which: impl FnOnce(&Ids) -> u32) -> Answer {
        Answer::Value(which(self.table.of(process.id)).into())
    }

    pub(super) fn tell_three(
        &self,
        process: Process,
        addresses: [u64; 6],
        which: impl FnOnce(&Ids) -> Four,
    ) -> Result<Answer, Errno> {
        let four = which(self.table.of(process.id));
        for (address, id) in addresses.into_iter().zip([four.real, four.effective, four.saved]) {
            process.write(address, &id.to_ne_bytes())?;
        }
        Ok(Answer::Value(0))
    }

    pub(super) fn tell_groups(
        &self,
        process: Process,
        room: i32,
        address: u64,
    ) -> Result<Answer, Errno> {
        let groups = &self.table.of(process.id).groups;
        let count = i32::try_from(groups.len()).unwrap_or(i32::MAX);
        if room < 0 || (room != 0 && room < count) {
            return Err(Errno::INVAL);
        }
        if room != 0 && count != 0 {
            let bytes: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
            process.write(address, &bytes)?;
        }
        Ok(Answer::Value(count.into()))
    }

    pub(super) fn set_user(
        &mut self,
        call: &AskingCall,
        change: impl FnOnce(Four, bool) -> Result<Four, Errno>,
    ) -> Result<Answer, Errno> {
        let ids = self.table.of(call.process);
        let user = change(ids.user, self.has(ids, CapabilitySet::SETUID))?;
        let ids = ids.with_user(user);
        self.set(call, ids)
    }

    pub(super) fn set_group(
        &mut self,
        call: &AskingCall,
        change: impl FnOnce(Four, bool) -> Result<Four, Errno>,
    ) -> Result<Answer, Errno> {
        let ids = self.table.of(call.process);
        let group = change(ids.group, self.has(ids, CapabilitySet::SETGID))?;
        let ids = Ids { group, ..ids.clone() };
        self.set(call, ids)
    }

    /// Becoming another program, which may be somebody else's.
    pub(super) fn exec(&mut self, call: &AskingCall, named: Named) -> Result<Answer, Errno> {
        let ids = self.table.of(call.process);
        if !self.gains_rights || (ids.is_root() && !ids.keeps && !ids.kept) {
            return Ok(Answer::GoOn);
        }
        let process = Process::new(call.process);
        let opened = process.look(|process| process.spot(&self.root, named)?.open());
        let Ok(file) = opened else { return Ok(Answer::GoOn) };
        let stat = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let owner = deed::of(&file, kind);
        let new = ids.in_program(stat.st_mode, owner.uid, owner.gid);
        if kind == FileType::RegularFile && new != *ids {
            self.set(call, new)?;
        }
        Ok(Answer::GoOn)
    }

    pub(super) fn set_groups(
        &mut self,
        call: &AskingCall,
        arguments: [u64; 6],
    ) -> Result<Answer, Errno> {
        /// `NGROUPS_MAX`.
        const MOST: u64 = 65_536;
        let [count, address, ..] = arguments;
        let ids = self.table.of(call.process).clone();
        if !self.has(&ids, CapabilitySet::SETGID) {
            return Err(Errno::PERM);
        }
        let count = u64::from(count as u32);
        if count > MOST {
            return Err(Errno::INVAL);
        }
        let mut groups = match count {
            0 => Vec::new(),
            count => Process::new(call.process).numbers(address, count as usize)?,
        };
        groups.sort_unstable();
        self.set(call, Ids { groups, ..ids })
    }

    pub(super) fn set(&mut self, call: &AskingCall, ids: Ids) -> Result<Answer, Errno> {
        self.is_asking(call)?;
        self.table.change(call.process, ids)?;
        Ok(Answer::Value(0))
    }
}
