//! The commands of a `RUN`, read without a shell: enough of its grammar to tell commands, words and quotes apart.
//!
//! Nothing is expanded, and no structure is kept: a command in an `if` is one like any other.

use crate::instruction::{CommandLine, Run};

/// Words that may stand before a command and are none.
const BEFORE: [&str; 14] = [
    "if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "exec", "sudo", "env",
    "command",
];

/// The commands of an instruction, each as its words, in order.
pub(super) fn commands(run: &Run) -> Vec<Vec<String>> {
    match &run.command {
        CommandLine::Exec(argv) => match argv.as_slice() {
            [shell, flag, text, ..] if is_shell(shell) && flag.ends_with('c') => split(text),
            argv => vec![argv.to_vec()],
        },
        CommandLine::Shell(text) => {
            let mut commands = if run.script().is_some() { Vec::new() } else { split(text) };
            for heredoc in &run.heredocs {
                commands.extend(split(&heredoc.contents()));
            }
            commands
        }
    }
}

fn is_shell(program: &str) -> bool {
    matches!(program.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh"))
}

/// Splits a text at what ends a command.
fn split(text: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (None, '\\') if chars.peek() == Some(&'\n') => drop(chars.next()),
            (_, '\\') => word.get_or_insert_default().extend(chars.next()),
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '#') if word.is_none() => {
                while chars.peek().is_some_and(|c| *c != '\n') {
                    chars.next();
                }
            }
            (None, ';' | '&' | '|' | '\n' | '(' | ')' | '`') => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    commands.push(words);
    commands.into_iter().map(without_prefix).filter(|words| !words.is_empty()).collect()
}

/// A command without what stands before its name: keywords, and variables that are set for it.
fn without_prefix(words: Vec<String>) -> Vec<String> {
    let is_assignment = |word: &str| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let is_before = |word: &String| BEFORE.contains(&word.as_str()) || is_assignment(word);
    words.into_iter().skip_while(is_before).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commands_of_a_text() {
        for (text, expected) in [
            ("a b && c", vec!["a b", "c"]),
            ("a 'b && c' \"d;e\" f\\ g", vec!["a b && c d;e f g"]),
            ("if ! a; then X=1 b | c; fi", vec!["a", "b", "c", "fi"]),
            ("# nothing && a\nb # c\nd#e", vec!["b", "d#e"]),
            ("(cd x && make) & wait", vec!["cd x", "make", "wait"]),
            ("a \\\n b", vec!["a b"]),
            ("echo \"it's\" ''", vec!["echo it's "]),
            ("", vec![]),
        ] {
            let found: Vec<String> = split(text).iter().map(|words| words.join(" ")).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
