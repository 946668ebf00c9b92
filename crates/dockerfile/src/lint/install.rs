//! The order of steps that install something: what is cached for too long, and what is never cached.

use super::{Findings, Place, copy, shell, table::Rule};
use crate::instruction::{Instruction, MountFlag, Run};
use crate::lower::Seen;

pub(super) static APT_UPDATE_ALONE: Rule = Rule::of_kiln(
    "AptUpdateAlone",
    "Package lists that are fetched in a step of their own are taken from the cache when they are long out of date",
);

pub(super) static COPY_BEFORE_DEPENDENCIES: Rule = Rule::of_kiln(
    "CopyBeforeDependencies",
    "Dependencies are installed again whenever any file changes if all files are copied before",
);

/// What fetches the dependencies that a file lists: the first words of the command, and the files to copy before it.
const FETCHERS: [(&str, &[&str], &str); 21] = [
    ("npm", &["ci"], "package.json and package-lock.json"),
    ("npm", &["install"], "package.json and package-lock.json"),
    ("npm", &["i"], "package.json and package-lock.json"),
    ("yarn", &["install"], "package.json and yarn.lock"),
    ("yarn", &[], "package.json and yarn.lock"),
    ("pnpm", &["install"], "package.json and pnpm-lock.yaml"),
    ("pnpm", &["fetch"], "pnpm-lock.yaml"),
    ("pip", &["install", "-r"], "the requirements file"),
    ("pip3", &["install", "-r"], "the requirements file"),
    ("pipenv", &["install"], "Pipfile and Pipfile.lock"),
    ("poetry", &["install"], "pyproject.toml and poetry.lock"),
    ("uv", &["sync"], "pyproject.toml and uv.lock"),
    ("bundle", &["install"], "Gemfile and Gemfile.lock"),
    ("composer", &["install"], "composer.json and composer.lock"),
    ("go", &["mod", "download"], "go.mod and go.sum"),
    ("cargo", &["fetch"], "Cargo.toml and Cargo.lock"),
    ("mvn", &["dependency:go-offline"], "pom.xml"),
    ("mvn", &["dependency:resolve"], "pom.xml"),
    ("dotnet", &["restore"], "the project files"),
    ("mix", &["deps.get"], "mix.exs and mix.lock"),
    ("flutter", &["pub", "get"], "pubspec.yaml and pubspec.lock"),
];

/// Commands beside which `apt-get update` is still alone: none of them installs a package.
const HARMLESS: [&str; 18] = [
    "set", "echo", "true", ":", "export", "rm", "mkdir", "sed", "cp", "mv", "cat", "touch", "tee",
    "printf", "chmod", "sleep", "fi", "done",
];

/// What a stage has done so far, its base stages included.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// Where everything was copied first.
    copied: Option<((usize, usize), Vec<String>)>,
    /// The programs that have fetched dependencies.
    fetchers: Vec<&'static str>,
}

/// `COPY`, `ADD` and `RUN` of the file itself.
pub(super) fn check(seen: &Seen<'_>, done: &mut Done, findings: &mut Findings) {
    if seen.is_trigger {
        return;
    }
    if done.copied.is_none() && copy::takes_everything(seen) {
        done.copied = Some((seen.lines, seen.comments.to_vec()));
    }
    let Instruction::Run(run) = seen.instruction else { return };
    let commands = shell::commands(run);
    if is_update_alone(&commands) && !has_cached_lists(run) {
        let message = "RUN fetches package lists without installing anything: later steps use them as old as the cache is";
        let detail = "write apt-get update && apt-get install … in one RUN".to_owned();
        let place = Place { lines: seen.lines, comments: seen.comments };
        findings.add_with(&APT_UPDATE_ALONE, place, message, Some(detail));
    }
    for command in &commands {
        let Some((program, words, files)) = fetcher(command) else { continue };
        let is_first = !done.fetchers.contains(&program);
        done.fetchers.push(program);
        let Some((lines, comments)) = done.copied.as_ref().filter(|_| is_first) else { continue };
        let name = [&[program], words].concat().join(" ");
        let message = format!(
            "All files are copied before `{name}` ({}): it runs again whenever one of them changes",
            findings.source.line_in_words(seen.lines.0)
        );
        let detail = format!("copy {files} first, then run it, then copy the rest");
        let place = Place { lines: *lines, comments };
        findings.add_with(&COPY_BEFORE_DEPENDENCIES, place, message, Some(detail));
    }
}

/// True if apt fetches lists, and nothing here can use them.
fn is_update_alone(commands: &[Vec<String>]) -> bool {
    let mut updates = false;
    for command in commands {
        match action_of_apt(command) {
            Some("update") => updates = true,
            Some("clean" | "autoclean" | "autoremove") => {}
            Some(_) => return false,
            None if HARMLESS.contains(&command[0].as_str()) => {}
            None => return false,
        }
    }
    updates
}

/// What `apt` and `apt-get` are asked to do, options aside.
fn action_of_apt(command: &[String]) -> Option<&str> {
    let (program, mut words) = (command.first()?, command[1..].iter());
    if !matches!(program.rsplit('/').next(), Some("apt" | "apt-get" | "aptitude")) {
        return None;
    }
    while let Some(word) = words.next() {
        match word.as_str() {
            // Options with a value in the next word.
            "-o" | "-c" | "-t" | "--option" | "--config-file" | "--target-release" => {
                words.next();
            }
            option if option.starts_with('-') => {}
            action => return Some(action),
        }
    }
    None
}

/// True if the lists are in a cache, which later steps may have, too.
fn has_cached_lists(run: &Run) -> bool {
    let is_lists = |mount: &MountFlag| {
        mount.options.iter().any(|option| {
            let value = option.value.as_ref().map_or("", |value| value.text.as_str());
            matches!(option.key.as_str(), "target" | "dst" | "destination")
                && value.starts_with("/var/lib/apt")
        })
    };
    run.mounts.iter().any(is_lists)
}

/// The entry for a command that fetches what a file lists; with names of packages it does something else.
fn fetcher(command: &[String]) -> Option<(&'static str, &'static [&'static str], &'static str)> {
    let program = command.first()?.rsplit('/').next()?;
    let (program, words) = match (program, command.get(1..)?) {
        // `python -m pip …`
        ("python" | "python3", [flag, module, rest @ ..]) if flag == "-m" => {
            (module.as_str(), rest)
        }
        (program, rest) => (program, rest),
    };
    let plain: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    FETCHERS.into_iter().find(|(name, pattern, _)| {
        if *name != program {
            return false;
        }
        // With a requirements file it is an option that counts, and what follows it is a file.
        if let Some((option, action)) = pattern.split_last().filter(|(last, _)| **last == "-r") {
            let has_file =
                words.iter().any(|word| word.starts_with(option) || word == "--requirement");
            return has_file && plain.starts_with(action);
        }
        let takes_packages = matches!(program, "npm" | "yarn" | "pnpm" | "pipenv" | "dotnet");
        plain.starts_with(pattern) && (!takes_packages || plain.len() == pattern.len())
    })
}

#[cfg(test)]
mod tests {
    use super::{fetcher, is_update_alone};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn updates() {
        let alone = |commands: &[&str]| {
            is_update_alone(&commands.iter().map(|command| words(command)).collect::<Vec<_>>())
        };
        assert!(alone(&["apt-get update"]));
        assert!(alone(&["set -ex", "/usr/bin/apt-get -qq -o Acquire::Retries=3 update"]));
        assert!(alone(&["sed -i s/a/b/ /etc/apt/sources.list", "apt update", "apt clean"]));
        assert!(!alone(&["apt-get update", "apt-get install -y gcc"]));
        assert!(!alone(&["apt-get update", "apt-get upgrade"]));
        assert!(!alone(&["apt-get update", "./setup.sh"]));
        assert!(!alone(&["apk update"]));
        assert!(!alone(&["echo apt-get update"]));
    }

    #[test]
    fn fetchers() {
        for command in [
            "npm ci",
            "npm ci --omit=dev",
            "npm install",
            "yarn",
            "yarn install --frozen-lockfile",
            "pip install --no-cache-dir -r requirements.txt",
            "pip install -rrequirements.txt",
            "python3 -m pip install -r a.txt",
            "go mod download -x",
            "cargo fetch --locked",
            "mvn -B dependency:go-offline",
            "/usr/local/bin/bundle install",
        ] {
            assert!(fetcher(&words(command)).is_some(), "{command}");
        }
        for command in [
            "npm install -g typescript",
            "npm run build",
            "yarn build",
            "pip install .",
            "pip install flask",
            "go build ./...",
            "cargo build",
            "mvn package",
            "python3",
        ] {
            assert!(fetcher(&words(command)).is_none(), "{command}");
        }
    }
}
