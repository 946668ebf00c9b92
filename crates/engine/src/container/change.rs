//! Instructions of a Dockerfile as changes of a config: `commit --change` and `import --change`.

use std::collections::BTreeMap;

use dockerfile::{BaseImage, BaseRef, ContextKind, Diagnostic, Instruction, Lowered, Request};
use oci::{Config, Digest, ImageConfig, ImageId, config::DEFAULT_PATH};

use crate::Error;

/// What the config is called in the Dockerfile that is made of the changes.
const BASE: &str = "base";

/// Returns the config with the changes, each of which may be several lines of a Dockerfile.
///
/// # Errors
/// [`Error::Change`]: an instruction that is none, or none that changes a config only.
pub(crate) fn apply(config: &ImageConfig, changes: &[String]) -> Result<Config, Error> {
    if changes.is_empty() {
        return Ok(config.config.clone());
    }
    let text = format!("FROM {BASE}\n{}\n", changes.join("\n"));
    let refused = |diagnostic: Diagnostic| refused(&text, diagnostic);
    let file = dockerfile::parse("--change", text.as_bytes())
        .map_err(|failed| refused(failed.diagnostic))?;
    for statement in file.stages.iter().flat_map(|stage| &stage.steps) {
        check(&statement.instruction, &statement.text)?;
    }
    if let Some(stage) = file.stages.get(1) {
        return Err(not_valid("from", &stage.from.text));
    }
    let platform = config.platform();
    let mut request = Request::new(platform);
    request.contexts.insert(BASE.to_owned(), ContextKind::Image);
    let mut known: BTreeMap<BaseRef, BaseImage> = BTreeMap::new();
    loop {
        match dockerfile::lower(&file, &request, &known).map_err(refused)? {
            Lowered::Ready(plan) => {
                let changed = plan.stage(plan.target).config.config.clone();
                return Ok(without_new_path(&config.config, changed));
            }
            Lowered::Needs(bases) => {
                // It is known already, and asked for again: then it is this that is wrong.
                if !known.is_empty() {
                    return Err(Error::Lost { what: "the config to change" });
                }
                // Nothing asks for its id: what is planned is not built.
                let id = ImageId::new(Digest::of(&[]));
                let base = BaseImage { id, config: config.clone() };
                known.extend(bases.into_iter().map(|name| (name, base.clone())));
            }
        }
    }
}

/// A build gives its steps a PATH. No step is run here, so what had none goes on having none.
fn without_new_path(before: &Config, mut changed: Config) -> Config {
    if before.env_value("PATH").is_none() {
        changed.env.retain(|entry| *entry != format!("PATH={DEFAULT_PATH}"));
    }
    changed
}

/// Lets through what changes a config and nothing else.
fn check(instruction: &Instruction, text: &str) -> Result<(), Error> {
    match instruction {
        Instruction::Cmd(_)
        | Instruction::Entrypoint(_)
        | Instruction::Env(_)
        | Instruction::Expose(_)
        | Instruction::Healthcheck(_)
        | Instruction::Label(_)
        | Instruction::Onbuild(_)
        | Instruction::Stopsignal(_)
        | Instruction::User(_)
        | Instruction::Volume(_)
        | Instruction::Workdir(_) => Ok(()),
        Instruction::Add(_)
        | Instruction::Arg(_)
        | Instruction::Copy(_)
        | Instruction::From(_)
        | Instruction::Maintainer(_)
        | Instruction::Run(_)
        | Instruction::Shell(_) => Err(not_valid(instruction.keyword(), text)),
    }
}

/// In Docker's words.
fn not_valid(keyword: &str, text: &str) -> Error {
    let reason = format!("{} is not a valid change command", keyword.to_lowercase());
    Error::Change { change: text.to_owned(), reason }
}

/// Names the change that a mistake is in.
fn refused(text: &str, diagnostic: Diagnostic) -> Error {
    let line = diagnostic.lines.and_then(|(first, _)| text.lines().nth(first.saturating_sub(1)));
    let change = line.unwrap_or_default().to_owned();
    let reason = match &diagnostic.hint {
        Some(hint) => format!("{diagnostic} ({hint})"),
        None => diagnostic.to_string(),
    };
    Error::Change { change, reason }
}

#[cfg(test)]
mod tests {
    use oci::Platform;

    use super::*;

    fn changed(changes: &[&str]) -> Result<String, String> {
        let mut config =
            ImageConfig { config: Config::default(), ..ImageConfig::scratch(&Platform::host()) };
        config.config.env = vec!["A=1".to_owned()];
        config.config.labels.insert("old".to_owned(), "1".to_owned());
        config.config.cmd = Some(vec!["old".to_owned()]);
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let config = apply(&config, &changes).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(oci::json::to_bytes(&config)).unwrap())
    }

    #[test]
    fn each_instruction() {
        let check = |change: &str, expected: &str| {
            let text = changed(&[change]).unwrap();
            assert!(text.contains(expected), "{change}: {text}");
        };
        check("CMD [\"a\", \"b c\"]", r#""Cmd":["a","b c"]"#);
        check("CMD a b", r#""Cmd":["/bin/sh","-c","a b"]"#);
        check("cmd a", r#""Cmd":["/bin/sh","-c","a"]"#);
        check("ENTRYPOINT [\"/e\"]", r#""Entrypoint":["/e"]"#);
        check("ENV B=$A-2 C=\"x y\"", r#""Env":["A=1","B=1-2","C=x y"]"#);
        check("EXPOSE 80 53/udp", r#""ExposedPorts":{"53/udp":{},"80/tcp":{}}"#);
        check("LABEL k=v", r#""Labels":{"k":"v","old":"1"}"#);
        check("ONBUILD RUN true", r#""OnBuild":["RUN true"]"#);
        check("USER app:5", r#""User":"app:5""#);
        check("VOLUME /v /w", r#""Volumes":{"/v":{},"/w":{}}"#);
        check("WORKDIR /w", r#""WorkingDir":"/w""#);
        check("STOPSIGNAL SIGINT", r#""StopSignal":"SIGINT""#);
        check("HEALTHCHECK NONE", r#""Healthcheck":{"Test":["NONE"]}"#);
        check("ENV B=2\nLABEL b=2", r#""b":"2""#);
    }

    #[test]
    fn several_build_on_each_other() {
        let text = changed(&["ENV B=$A", "ENV C=$B", "WORKDIR /a", "WORKDIR b"]).unwrap();
        assert!(text.contains(r#""Env":["A=1","B=1","C=1"]"#), "{text}");
        assert!(text.contains(r#""WorkingDir":"/a/b""#), "{text}");
        assert!(changed(&[]).unwrap().contains(r#""Cmd":["old"]"#));
    }

    #[test]
    fn what_is_no_change() {
        let check = |change: &str, expected: &str| {
            let error = changed(&["ENV B=2", change]).unwrap_err();
            assert!(error.contains(expected) && error.contains(change), "{error}");
        };
        check("RUN true", "run is not a valid change command");
        check("COPY a b", "copy is not a valid change command");
        check("FROM x", "from is not a valid change command");
        check("SHELL [\"x\"]", "shell is not a valid change command");
        check("CMDX a", "unknown instruction: CMDX");
        check("ENV", "ENV");
        check("EXPOSE x", "x");
    }
}
