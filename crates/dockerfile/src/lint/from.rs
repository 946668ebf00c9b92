//! Base images: their names as arguments make them, and their platforms.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Platform, Reference};

use super::{Findings, Place, table::Rule, variable::suggestion};
use crate::ast::{Dockerfile, Statement};
use crate::instruction::From;
use crate::lower::Request;
use crate::quoted::quoted;
use crate::scope::Globals;
use crate::source::Word;
use crate::word::Expansion;

pub(super) static UNDEFINED_ARG_IN_FROM: Rule = Rule::of_buildkit(
    "UndefinedArgInFrom",
    "undefined-arg-in-from",
    "FROM command must use declared ARGs",
);

pub(super) static INVALID_DEFAULT_ARG_IN_FROM: Rule = Rule::of_buildkit(
    "InvalidDefaultArgInFrom",
    "invalid-default-arg-in-from",
    "Default value for global ARG results in an empty or invalid base image name",
);

pub(super) static REDUNDANT_TARGET_PLATFORM: Rule = Rule::of_buildkit(
    "RedundantTargetPlatform",
    "redundant-target-platform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
);

pub(super) static FROM_PLATFORM_FLAG_CONST_DISALLOWED: Rule = Rule::of_buildkit(
    "FromPlatformFlagConstDisallowed",
    "from-platform-flag-const-disallowed",
    "FROM --platform flag should not use a constant value",
);

pub(super) static INVALID_BASE_IMAGE_PLATFORM: Rule = Rule::of_buildkit(
    "InvalidBaseImagePlatform",
    "",
    "Base image platform does not match expected target platform",
);

/// The argument whose value is the default of `--platform`.
const TARGET_PLATFORM: &str = "TARGETPLATFORM";

/// The arguments that a `FROM` may use: those with a value first.
struct Names<'a> {
    list: Vec<&'a str>,
    set: BTreeSet<&'a str>,
}

/// Every `FROM` of the file, needed or not.
pub(super) fn check(
    file: &Dockerfile,
    request: &Request,
    globals: &Globals,
    findings: &mut Findings,
) {
    check_defaults(file, request, findings);
    let declared =
        file.global_args.iter().flat_map(|statement| &statement.instruction.declarations);
    let mut names: Vec<&str> = globals.names().collect();
    names.extend(declared.map(|declaration| declaration.name.text.as_str()));
    let names = Names { set: names.iter().copied().collect(), list: names };

    for stage in &file.stages {
        let from = &stage.from;
        let expand = |word: &Word| globals.expand_fully(word, file.directives.escape).ok();
        if let Some(image) = expand(&from.instruction.image) {
            check_declared(&image, &names, from, findings);
        }
        let Some(word) = &from.instruction.platform else { continue };
        let Some(platform) = expand(word) else { continue };
        check_declared(&platform, &names, from, findings);
        check_redundant(word, &platform, globals, from, findings);
        check_constant(&platform, from, findings);
    }
}

/// Names that are the value of no argument make no image name: the same file with other build arguments may have none.
fn check_defaults(file: &Dockerfile, request: &Request, findings: &mut Findings) {
    let request = Request { build_args: BTreeMap::new(), ..request.clone() };
    let Ok(defaults) = Globals::of(file, &request) else { return };
    for stage in &file.stages {
        let image = &stage.from.instruction.image;
        let Ok(name) = defaults.expand(image, file.directives.escape) else { return };
        if Reference::parse(&name).is_err() {
            let message = format!(
                "Default value for ARG {image} results in empty or invalid base image name"
            );
            findings.add(&INVALID_DEFAULT_ARG_IN_FROM, Place::of(&stage.from), message);
        }
    }
}

fn check_declared(
    expansion: &Expansion,
    names: &Names<'_>,
    from: &Statement<From>,
    findings: &mut Findings,
) {
    for name in expansion.unset.iter().filter(|name| !names.set.contains(name.as_str())) {
        let hint = suggestion(name, names.list.iter().copied(), findings);
        let hint = hint.map_or(String::new(), |hint| format!(" (did you mean {hint}?)"));
        let message = format!("FROM argument '{name}' is not declared{hint}");
        findings.add(&UNDEFINED_ARG_IN_FROM, Place::of(from), message);
    }
}

fn check_redundant(
    word: &Word,
    platform: &Expansion,
    globals: &Globals,
    from: &Statement<From>,
    findings: &mut Findings,
) {
    let only_target = platform.used.iter().eq([TARGET_PLATFORM]) && platform.unset.is_empty();
    if only_target && globals.value(TARGET_PLATFORM) == Some(&platform.text) {
        let message = format!(
            "Setting platform to predefined {word} in FROM is redundant as this is the default behavior"
        );
        findings.add(&REDUNDANT_TARGET_PLATFORM, Place::of(from), message);
    }
}

/// A stage that is named after its platform is meant for it.
fn check_constant(platform: &Expansion, from: &Statement<From>, findings: &mut Findings) {
    if !platform.used.is_empty() || !platform.unset.is_empty() {
        return;
    }
    let Ok(parsed) = Platform::parse(&platform.text) else { return };
    let name = from.instruction.name.as_ref().map_or("", |name| name.value.as_str());
    if !name.contains(&parsed.os) && !name.contains(&parsed.architecture) {
        let value = quoted(&platform.text);
        let message = format!("FROM --platform flag should not use constant value {value}");
        findings.add(&FROM_PLATFORM_FLAG_CONST_DISALLOWED, Place::of(from), message);
    }
}

/// The platform of a base image against the one that was wanted.
pub(super) fn check_base(
    from: &Statement<From>,
    wanted: &Platform,
    actual: &Platform,
    findings: &mut Findings,
) {
    if (&wanted.os, &wanted.architecture) == (&actual.os, &actual.architecture) {
        return;
    }
    let message = format!(
        "Base image {} was pulled with platform {}, expected {} for current build",
        from.instruction.image,
        quoted(&actual.to_string()),
        quoted(&wanted.to_string()),
    );
    findings.add(&INVALID_BASE_IMAGE_PLATFORM, Place::of(from), message);
}
