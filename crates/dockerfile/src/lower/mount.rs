//! `RUN --mount`: every default filled in, and targets made absolute.

use plan::{Mount, MountKind, Origin, Sharing};

use super::graph::Link;
use super::path;
use super::stage::StageState;
use crate::diagnostic::Diagnostic;
use crate::instruction::{self, MountFlag};
use crate::quoted::quoted;

/// Lowers a mount of a command, which has the mounts `before` already.
pub(super) fn lower(
    flag: &MountFlag,
    link: Option<&Link>,
    before: &[Mount],
    stage: &StageState<'_>,
) -> Result<Mount, Diagnostic> {
    let mount = flag.expand(|word| stage.expand(word))?;
    let written = mount.target.clone().unwrap_or_default();
    let is_written = !written.is_empty();
    let origin = |default: Origin| match link {
        None => Ok(default),
        Some(link) => {
            let target = quoted(&written);
            let mistake = format!(
                "cannot mount from stage {{}} to {target}, stage needs to be defined before current command"
            );
            stage.origin(link, &mistake)
        }
    };
    let target = path::join(stage.workdir(), &written);
    let source = path::join("/", mount.source.as_deref().unwrap_or_default());
    match mount.kind {
        instruction::MountKind::Bind => {
            let kind = MountKind::Bind {
                origin: origin(Origin::Context)?,
                source,
                read_write: !mount.read_only,
            };
            at(target, is_written, kind)
        }
        instruction::MountKind::Cache { id, sharing, mode, uid, gid } => {
            let kind = MountKind::Cache {
                id: cache_id(id, &written, stage),
                origin: origin(Origin::Scratch)?,
                source,
                read_only: mount.read_only,
                sharing: match sharing {
                    instruction::Sharing::Shared => Sharing::Shared,
                    instruction::Sharing::Private => Sharing::Private,
                    instruction::Sharing::Locked => Sharing::Locked,
                },
                mode: mode.unwrap_or(0o755),
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
                owned: mode.is_some() || uid.is_some() || gid.is_some(),
            };
            at(target, is_written, kind)
        }
        instruction::MountKind::Tmpfs { size } => at(target, is_written, MountKind::Tmpfs { size }),
        instruction::MountKind::Secret { id, env, required, mode, uid, gid } => {
            let target = match (written.is_empty(), &env) {
                (false, _) => target,
                (true, None) => format!("/run/secrets/{}", path::base_name(&id)),
                (true, Some(_)) => String::new(),
            };
            let kind = MountKind::Secret {
                id,
                env,
                required,
                mode: mode.unwrap_or(0o400),
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
            };
            Ok(Mount { target, kind })
        }
        instruction::MountKind::Ssh { id, required, mode, uid, gid } => {
            let kind = MountKind::Ssh {
                id,
                required,
                mode: mode.unwrap_or(0o600),
                uid: uid.unwrap_or(0),
                gid: gid.unwrap_or(0),
            };
            let agents = before.iter().filter(|mount| matches!(mount.kind, MountKind::Ssh { .. }));
            let default = format!("/run/buildkit/ssh_agent.{}", agents.count());
            Ok(Mount { target: if written.is_empty() { default } else { target }, kind })
        }
    }
}

/// The root file system itself cannot be covered.
fn at(target: String, is_written: bool, kind: MountKind) -> Result<Mount, Diagnostic> {
    if target == "/" {
        let message = format!("invalid mount target {}", quoted(&target));
        let hint = match is_written {
            true => {
                "a mount cannot cover the whole file system: name a directory, as in target=/data"
            }
            false => {
                "name the directory to mount on, as in target=/data: without it, it is WORKDIR"
            }
        };
        return Err(Diagnostic::new(message).hint(hint));
    }
    Ok(Mount { target, kind })
}

/// Caches are told apart by the target as written where there is no id, in the namespace that was asked for.
fn cache_id(id: Option<String>, target: &str, stage: &StageState<'_>) -> String {
    let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| match target.strip_prefix('/') {
        Some(_) => path::join("/", target),
        None => path::join("/", target).trim_start_matches('/').to_owned(),
    });
    match stage.globals.build_arg("BUILDKIT_CACHE_MOUNT_NS") {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{id}"),
        _ => id,
    }
}
