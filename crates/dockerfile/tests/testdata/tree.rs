//! A parsed Dockerfile as text: every field of every instruction, each word with the line and column it is from.

use dockerfile::instruction::{
    Add, Arg, Check, CommandLine, Copy, CopySource, Declaration, Device, From, Healthcheck,
    MountFlag, MountOption, Pair, Run,
};
use dockerfile::{Directives, Dockerfile, Heredoc, Instruction, Source, Statement, Word};

/// The whole tree; an instruction is a line with its parts in lines below.
pub(crate) fn render(dockerfile: &Dockerfile) -> String {
    let Dockerfile { source, directives, global_args, stages, empty_continuations, includes: _ } =
        dockerfile;
    let Directives { escape, syntax, check } = directives;
    let mut tree = Tree { source, text: String::new() };
    tree.line(0, &format!("escape {escape}"));
    tree.optional("syntax", syntax.as_deref());
    tree.optional("check", check.as_deref());
    for statement in global_args {
        tree.head("ARG", statement);
        tree.arg(&statement.instruction);
    }
    for stage in stages {
        tree.head("FROM", &stage.from);
        tree.from(&stage.from.instruction);
        for step in &stage.steps {
            tree.head(step.instruction.keyword(), step);
            tree.instruction(&step.instruction);
        }
    }
    for (first, last) in empty_continuations {
        tree.line(0, &format!("empty continuation in {first}-{last}"));
    }
    tree.text
}

struct Tree<'a> {
    source: &'a Source,
    text: String,
}

impl Tree<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        self.text.push_str(&" ".repeat(indent));
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.line(0, &format!("{name} {text:?}"));
        }
    }

    fn head<T>(&mut self, keyword: &str, statement: &Statement<T>) {
        let Statement { instruction: _, span, lines: (first, last), text, comments } = statement;
        assert!(self.source.text().get(span.start..span.end).is_some());
        self.line(0, "");
        self.line(0, &format!("{keyword} {first}-{last} {text:?}"));
        for comment in comments {
            self.line(2, &format!("comment {comment:?}"));
        }
    }

    fn word(&mut self, name: &str, word: &Word) {
        let position = self.source.position(word.span.start);
        let end = self.source.position(word.span.end);
        let end = match end.line == position.line {
            true => format!("{}", end.column),
            false => format!("{}:{}", end.line, end.column),
        };
        let place = format!("{}:{}-{end}", position.line, position.column);
        self.line(2, &format!("{name} {:?} {place}", word.text));
    }

    fn words<'w>(&mut self, name: &str, words: impl IntoIterator<Item = &'w Word>) {
        for word in words {
            self.word(name, word);
        }
    }

    fn switch(&mut self, name: &str, on: Option<bool>) {
        if let Some(on) = on {
            self.line(2, &format!("{name} {on}"));
        }
    }

    fn instruction(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Add(add) => self.add(add),
            Instruction::Arg(arg) => self.arg(arg),
            Instruction::Cmd(cmd) => self.command(&cmd.command),
            Instruction::Copy(copy) => self.copy(copy),
            Instruction::Entrypoint(entrypoint) => self.command(&entrypoint.command),
            Instruction::Env(env) => self.pairs(&env.pairs),
            Instruction::Expose(expose) => self.words("port", &expose.ports),
            Instruction::From(from) => self.from(from),
            Instruction::Healthcheck(Healthcheck::None) => self.line(2, "none"),
            Instruction::Healthcheck(Healthcheck::Check(check)) => self.check(check),
            Instruction::Label(label) => self.pairs(&label.pairs),
            Instruction::Maintainer(maintainer) => self.line(2, &format!("{:?}", maintainer.name)),
            Instruction::Onbuild(onbuild) => self.line(2, &format!("{:?}", onbuild.trigger)),
            Instruction::Run(run) => self.run(run),
            Instruction::Shell(shell) => self.line(2, &format!("{:?}", shell.argv)),
            Instruction::Stopsignal(stopsignal) => self.word("signal", &stopsignal.signal),
            Instruction::User(user) => self.word("user", &user.user),
            Instruction::Volume(volume) => self.words("path", &volume.paths),
            Instruction::Workdir(workdir) => self.word("path", &workdir.path),
        }
    }

    fn from(&mut self, from: &From) {
        let From { platform, image, name } = from;
        self.words("platform", platform);
        self.word("image", image);
        if let Some(name) = name {
            self.word("name", &Word::new(name.value.as_str(), name.span));
        }
    }

    fn arg(&mut self, arg: &Arg) {
        for Declaration { name, value } in &arg.declarations {
            self.word("name", name);
            self.words("default", value);
        }
    }

    fn pairs(&mut self, pairs: &[Pair]) {
        for Pair { key, value, legacy } in pairs {
            self.word(if *legacy { "legacy key" } else { "key" }, key);
            self.word("value", value);
        }
    }

    fn command(&mut self, command: &CommandLine) {
        match command {
            CommandLine::Shell(text) => self.line(2, &format!("shell {text:?}")),
            CommandLine::Exec(argv) => self.line(2, &format!("exec {argv:?}")),
        }
    }

    fn add(&mut self, add: &Add) {
        let Add { chown, chmod, link, exclude, keep_git_dir, checksum, unpack, .. } = add;
        self.words("chown", chown);
        self.words("chmod", chmod);
        self.switch("link", link.then_some(true));
        self.words("exclude", exclude);
        self.switch("keep-git-dir", *keep_git_dir);
        self.words("checksum", checksum);
        self.switch("unpack", *unpack);
        self.sources(&add.sources);
        self.word("destination", &add.destination);
    }

    fn copy(&mut self, copy: &Copy) {
        let Copy { from, chown, chmod, link, parents, if_exists, exclude, sources, destination } =
            copy;
        self.words("from", from);
        self.words("chown", chown);
        self.words("chmod", chmod);
        self.switch("link", link.then_some(true));
        self.switch("parents", parents.then_some(true));
        self.switch("if-exists", if_exists.then_some(true));
        self.words("exclude", exclude);
        self.sources(sources);
        self.word("destination", destination);
    }

    fn sources(&mut self, sources: &[CopySource]) {
        for source in sources {
            match source {
                CopySource::Path(path) => self.word("source", path),
                CopySource::Heredoc(heredoc) => self.heredoc(heredoc),
            }
        }
    }

    fn heredoc(&mut self, heredoc: &Heredoc) {
        let Heredoc { name, body, expand, chomp, fd, span: _ } = heredoc;
        let mut head = format!("heredoc {name:?}");
        for (word, on) in [(" literal", !*expand), (" chomp", *chomp)] {
            head.push_str(if on { word } else { "" });
        }
        if let Some(fd) = fd {
            head.push_str(&format!(" fd {fd}"));
        }
        self.line(2, &head);
        for line in body.split_inclusive('\n') {
            self.line(4, &format!("{line:?}"));
        }
    }

    fn check(&mut self, check: &Check) {
        let Check { command, interval, timeout, start_period, start_interval, retries } = check;
        self.line(2, &format!("interval {interval:?} timeout {timeout:?} retries {retries}"));
        self.line(2, &format!("start-period {start_period:?} start-interval {start_interval:?}"));
        self.command(command);
    }

    fn run(&mut self, run: &Run) {
        let Run { mounts, network, security, devices, command, heredocs } = run;
        for mount in mounts {
            self.mount(mount);
        }
        if let Some(network) = network {
            self.line(2, &format!("network {:?}", network.value));
        }
        if let Some(security) = security {
            self.line(2, &format!("security {:?}", security.value));
        }
        for device in devices {
            let Device { name, required } = &device.value;
            self.line(2, &format!("device {name:?} required {required}"));
        }
        self.command(command);
        for heredoc in heredocs {
            self.heredoc(heredoc);
        }
    }

    fn mount(&mut self, mount: &MountFlag) {
        let MountFlag { options, span: _ } = mount;
        self.line(2, "mount");
        for MountOption { key, value, span: _ } in options {
            match value {
                Some(value) => self.word(&format!("  {key}"), value),
                None => self.line(4, key),
            }
        }
    }
}
