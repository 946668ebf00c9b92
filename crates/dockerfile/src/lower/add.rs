//! `ADD`: `COPY` that also unpacks archives and fetches addresses.

use plan::Origin;

use super::copy::{Operands, push};
use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Add;

impl Lower for Add {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let operands = Operands {
            chown: self.chown.as_ref(),
            chmod: self.chmod.as_ref(),
            link: self.link,
            exclude: &self.exclude,
            sources: &self.sources,
            destination: &self.destination,
        };
        let mut copy = operands.lower(stage, Origin::Context)?;
        copy.add = true;
        copy.unpack = self.unpack;
        copy.keep_git_dir = self.keep_git_dir;
        if let Some(word) = &self.checksum {
            let checksum = stage.expand(word)?;
            if !checksum.is_empty() {
                check_checksum(&copy.sources, &checksum).map_err(|error| error.at(word.span))?;
                copy.checksum = Some(checksum);
            }
        }
        push(stage, command, copy, &self.destination)
    }
}

/// Only the contents of a single address can be checked.
pub(crate) fn check_checksum(
    sources: &[plan::CopySource],
    checksum: &str,
) -> Result<(), Diagnostic> {
    let digest = match sources {
        [plan::CopySource::Url(_)] => oci::Digest::parse(checksum),
        [plan::CopySource::Git(_)] => return Ok(()),
        [_] => {
            let mistake = Diagnostic::new("checksum requires HTTP(S) or Git sources");
            return Err(mistake.hint("what is in the build context needs no checksum"));
        }
        _ => {
            let mistake = Diagnostic::new("checksum can't be specified for multiple sources");
            return Err(mistake.hint("write an ADD for each source, with its checksum"));
        }
    };
    match digest {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("invalid checksum digest format: {error}");
            Err(Diagnostic::new(message).hint("a checksum is written as sha256:<64 hex digits>"))
        }
    }
}
