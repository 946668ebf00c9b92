//! `--volumes-from`: what other containers have of the host and of volumes.

use engine::{
    Engine,
    container::{
        Settings,
        options::{Mount, MountKind},
    },
};

use crate::report::Failure;

/// Adds the mounts of other containers, named as `CONTAINER[:ro|:rw]`, to those that a container has by itself, which go
/// before them; so do those of later containers before those of earlier ones.
pub(crate) fn add(
    engine: &Engine,
    containers: &[String],
    mounts: &mut Vec<Mount>,
) -> Result<(), Failure> {
    for given in containers.iter().rev() {
        let (name, mode) = match given.split_once(':') {
            Some((name, mode)) => (name, Some(mode)),
            None => (given.as_str(), None),
        };
        if !matches!(mode, None | Some("ro" | "rw" | "z" | "Z")) {
            return Err(Failure::usage(format!(
                "invalid mode for --volumes-from `{given}`: there are `ro` and `rw`"
            )));
        }
        let container = engine.store().find_container(name)?;
        for mount in Settings::of(&container)?.options.mounts {
            let is_taken = mounts.iter().any(|own| own.target == mount.target);
            if is_taken || matches!(mount.kind, MountKind::Tmpfs(_)) {
                continue;
            }
            let read_only = mount.read_only || mode == Some("ro");
            mounts.push(Mount { read_only, ..mount });
        }
    }
    Ok(())
}
