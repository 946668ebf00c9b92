//! `# syntax=`: an image that is not asked to read the file.

use super::{Findings, Place, table::Rule};
use crate::ast::Dockerfile;

pub(super) static FRONT_END_NOT_USED: Rule = Rule::of_kiln(
    "FrontEndNotUsed",
    "A front end of somebody's own may read another language; the file is read as a Dockerfile, and no image is run for that",
);

/// The images that read what is read here, wherever they are mirrored.
const DOCKERFILES: [&str; 2] = ["dockerfile", "dockerfile-upstream"];

/// The directive, if it names another front end than Docker's.
pub(super) fn check(file: &Dockerfile, findings: &mut Findings) {
    let Some(line) = file.syntax_line() else { return };
    let syntax = file.directives.syntax.as_deref().unwrap_or_default();
    let name = syntax.split_whitespace().next().unwrap_or_default();
    if file.extended_by().is_some() || name.is_empty() || is_docker(name) {
        return;
    }
    let message =
        format!("`{name}` is not asked to read the file, which is taken for a Dockerfile");
    let place = Place { lines: (line, line), comments: &[] };
    findings.add(&FRONT_END_NOT_USED, place, message);
}

fn is_docker(name: &str) -> bool {
    let name = name.split('@').next().unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    DOCKERFILES.contains(&last.split(':').next().unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::is_docker;

    #[test]
    fn dockers_own_are_known_anywhere() {
        for name in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7-labs@sha256:00",
            "docker.io/docker/dockerfile:1",
            "mirror.example:5000/docker/dockerfile",
            "docker/dockerfile-upstream:master",
        ] {
            assert!(is_docker(name), "{name}");
        }
        for name in ["evil/frontend", "docker/dockerfile.evil:1", "dockerfile/x", "h:1/buildpacks"]
        {
            assert!(!is_docker(name), "{name}");
        }
    }
}
