//! The table of all rules.

use super::{
    argument, casing, command, comment, copy, expose, from, front_end, install, line, name, pair,
    secret, variable, workdir,
};

/// A build check.
#[derive(PartialEq, Eq, Debug)]
pub struct Rule {
    /// What it is called in `# check=skip=`.
    pub name: &'static str,
    /// What it is about, whatever the place.
    pub description: &'static str,
    /// The last part of the address of its page; empty if it has none.
    page: &'static str,
    /// Who else has it.
    pub source: RuleSource,
    /// True if it has to be asked for by `# check=experimental=`.
    pub is_experimental: bool,
}

/// Whose rule it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleSource {
    /// BuildKit has it, and says the same.
    BuildKit,
    /// It is only here.
    Kiln,
}

/// Every rule, BuildKit's first.
pub static RULES: [&Rule; 29] = [
    &casing::STAGE_NAME_CASING,
    &casing::FROM_AS_CASING,
    &line::NO_EMPTY_CONTINUATION,
    &casing::CONSISTENT_INSTRUCTION_CASING,
    &name::DUPLICATE_STAGE_NAME,
    &name::RESERVED_STAGE_NAME,
    &command::JSON_ARGS_RECOMMENDED,
    &command::MAINTAINER_DEPRECATED,
    &from::UNDEFINED_ARG_IN_FROM,
    &workdir::WORKDIR_RELATIVE_PATH,
    &variable::UNDEFINED_VAR,
    &command::MULTIPLE_INSTRUCTIONS_DISALLOWED,
    &pair::LEGACY_KEY_VALUE_FORMAT,
    &from::INVALID_BASE_IMAGE_PLATFORM,
    &from::REDUNDANT_TARGET_PLATFORM,
    &secret::SECRETS_USED_IN_ARG_OR_ENV,
    &from::INVALID_DEFAULT_ARG_IN_FROM,
    &from::FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    &copy::COPY_IGNORED_FILE,
    &comment::INVALID_DEFINITION_DESCRIPTION,
    &expose::EXPOSE_PROTO_CASING,
    &expose::EXPOSE_INVALID_FORMAT,
    &copy::COPY_EXCLUDED_SOURCE,
    &copy::COPY_GIT_IGNORED_FILES,
    &secret::SECRET_VALUE_IN_ARG_OR_ENV,
    &argument::MISSPELT_BUILD_ARG,
    &install::APT_UPDATE_ALONE,
    &install::COPY_BEFORE_DEPENDENCIES,
    &front_end::FRONT_END_NOT_USED,
];

impl Rule {
    /// A rule of BuildKit; `page` is empty where it has no page there.
    pub(super) const fn of_buildkit(
        name: &'static str,
        page: &'static str,
        description: &'static str,
    ) -> Self {
        Self { name, description, page, source: RuleSource::BuildKit, is_experimental: false }
    }

    /// A rule that has to be asked for.
    pub(super) const fn experimental(self) -> Self {
        Self { is_experimental: true, ..self }
    }

    /// A rule that is only here.
    pub(super) const fn of_kiln(name: &'static str, description: &'static str) -> Self {
        Self { name, description, page: "", source: RuleSource::Kiln, is_experimental: false }
    }

    /// The page that explains the rule, if there is one.
    pub fn url(&self) -> Option<String> {
        let page = Some(self.page).filter(|page| !page.is_empty())?;
        Some(format!("https://docs.docker.com/go/dockerfile/rule/{page}/"))
    }
}
