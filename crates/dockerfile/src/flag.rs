//! `--name=value` words between the keyword and the operands.

use nom::Offset;

use crate::diagnostic::Diagnostic;
use crate::fragment::Fragment;
use crate::nearest::nearest;
use crate::source::{Span, Word};

/// What a flag of an instruction takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Takes {
    /// A value, once.
    Value,
    /// A value, any number of times.
    Values,
    /// Nothing, `=true` or `=false`, once.
    Switch,
}

/// A flag as written, quotes and escapes already resolved.
#[derive(Clone, Debug)]
pub(crate) struct Flag<'a> {
    text: String,
    fragment: Fragment<'a>,
}

/// The flags of one instruction, of which each is known to it.
#[derive(Debug)]
pub(crate) struct Flags<'a>(Vec<(&'static str, FlagValue<'a>)>);

/// The value of a flag.
#[derive(Clone, Debug)]
pub(crate) struct FlagValue<'a> {
    /// The value; empty if there is none.
    pub(crate) text: String,
    /// The whole flag.
    pub(crate) fragment: Fragment<'a>,
    /// The value in the file, if it is written there without quotes and escapes.
    verbatim: Option<Fragment<'a>>,
}

/// Splits the flags from what follows the keyword, and returns both. A lone `--` ends the flags.
///
/// Quotes may be anywhere in a flag, and `\` stands for the character behind it, whatever the directive says.
pub(crate) fn split(after_keyword: Fragment<'_>) -> (Vec<Flag<'_>>, Fragment<'_>) {
    let mut flags = Vec::new();
    let mut rest = after_keyword.text().trim_start();
    while rest.starts_with("--") {
        let (text, after) = unquote_word(rest);
        let fragment = after_keyword.of(&rest[..rest.len() - after.len()]);
        rest = after.trim_start();
        if text == "--" {
            break;
        }
        flags.push(Flag { text, fragment });
    }
    (flags, after_keyword.of(rest).trim())
}

/// The word that `input` starts with, and what is behind it. An open quote goes to the end.
fn unquote_word(input: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = input.chars();
    loop {
        let rest = chars.as_str();
        let Some(c) = chars.next() else { return (word, rest) };
        match (c, quote) {
            ('\\', _) => word.extend(chars.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.push(c),
            ('\'' | '"', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => return (word, rest),
            (c, None) => word.push(c),
        }
    }
}

impl<'a> Flag<'a> {
    /// The flag, with the dashes.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The name with the dashes, and the value if there is an `=`.
    pub(crate) fn parts(&self) -> (&str, Option<&str>) {
        match self.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&self.text, None),
        }
    }

    /// The quote in it that is not closed.
    pub(crate) fn open_quote(&self) -> Option<char> {
        let mut quote = None;
        let mut chars = self.fragment.text().chars();
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', _) => drop(chars.next()),
                (c, Some(open)) if c == open => quote = None,
                ('\'' | '"', None) => quote = Some(c),
                _ => {}
            }
        }
        quote
    }

    /// Its place.
    pub(crate) fn span(&self) -> Span {
        self.fragment.span()
    }

    fn value(&self, value: Option<&str>) -> FlagValue<'a> {
        let value = value.unwrap_or("");
        let written = self.fragment.text();
        let verbatim = (written == self.text)
            .then(|| self.fragment.of(&written[written.len() - value.len()..]));
        FlagValue { text: value.to_owned(), fragment: self.fragment, verbatim }
    }
}

/// Checks `flags` against those an instruction knows.
pub(crate) fn check<'a>(
    flags: &[Flag<'a>],
    known: &[(&'static str, Takes)],
) -> Result<Flags<'a>, Diagnostic> {
    let mut given: Vec<(&'static str, FlagValue<'a>)> = Vec::new();
    for flag in flags {
        let (dashed, value) = flag.parts();
        let span = flag.fragment.span();
        let fail = |message: String| Err(Diagnostic::new(message).at(span));

        let name = &dashed[2..];
        let Some((name, takes)) = known.iter().find(|(known, _)| *known == name) else {
            let near = nearest(name, known.iter().map(|(known, _)| *known));
            let near = near.map(|near| format!("--{near}"));
            let unknown = Diagnostic::new(format!("unknown flag: {dashed}")).at(span);
            let unknown = unknown.did_you_mean(near.as_deref());
            if unknown.hint.is_some() {
                return Err(unknown);
            }
            let names: Vec<String> = known.iter().map(|(known, _)| format!("--{known}")).collect();
            return Err(match &names[..] {
                [] => unknown
                    .hint(format!("it has no flags; for the word itself write `-- {dashed}`")),
                names => unknown.choices(names.iter().map(String::as_str)),
            });
        };
        if *takes != Takes::Values && given.iter().any(|(other, _)| other == name) {
            return fail(format!("duplicate flag specified: {dashed}"));
        }
        match (takes, value) {
            (Takes::Switch, Some("")) | (Takes::Value | Takes::Values, None) => {
                let hint = match takes {
                    Takes::Switch => format!("write {dashed}, {dashed}=true or {dashed}=false"),
                    Takes::Value | Takes::Values => {
                        format!("write {dashed}=VALUE, without a blank")
                    }
                };
                let missing = Diagnostic::new(format!("missing a value on flag: {dashed}"));
                return Err(missing.at(span).hint(hint));
            }
            (Takes::Switch, Some(value))
                if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") =>
            {
                let message = format!("expecting boolean value for flag {dashed}, not: {value}");
                let hint = format!("write {dashed}, {dashed}=true or {dashed}=false");
                return Err(Diagnostic::new(message).at(span).hint(hint));
            }
            (Takes::Switch, _) | (Takes::Value | Takes::Values, Some(_)) => {}
        }
        given.push((name, flag.value(value)));
    }
    Ok(Flags(given))
}

impl<'a> Flags<'a> {
    /// The value of a flag; an empty one is as good as none.
    pub(crate) fn value(&self, name: &str) -> Option<&FlagValue<'a>> {
        self.values(name).find(|value| !value.text.is_empty())
    }

    /// The value of a flag as a word.
    pub(crate) fn word(&self, name: &str) -> Option<Word> {
        self.value(name).map(FlagValue::word)
    }

    /// All values of a flag.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &FlagValue<'a>> {
        self.0.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether a switch is on, if it is there.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.values(name).next().map(|value| !value.text.eq_ignore_ascii_case("false"))
    }
}

impl FlagValue<'_> {
    /// The value with its place.
    pub(crate) fn word(&self) -> Word {
        Word::new(self.text.as_str(), self.verbatim.unwrap_or(self.fragment).span())
    }

    /// The place of `part`, which is a slice of the text; that of the whole flag if the value is quoted.
    pub(crate) fn span_of(&self, part: &str) -> Span {
        let Some(verbatim) = self.verbatim else {
            return self.fragment.span();
        };
        let start = self.text.offset(part);
        let place = verbatim.text().get(start..start + part.len());
        place.map_or(self.fragment.span(), |place| verbatim.of(place).span())
    }
}

#[cfg(test)]
mod tests {
    use super::{Takes, check, split};
    use crate::fragment::Joined;

    const KNOWN: [(&str, Takes); 3] =
        [("from", Takes::Value), ("link", Takes::Switch), ("exclude", Takes::Values)];

    fn joined(text: &str) -> Joined {
        let mut joined = Joined::new(None);
        joined.push(text, 0);
        joined
    }

    #[test]
    fn splits_flags_from_operands() {
        for (text, flags, rest) in [
            ("a b", vec![], "a b"),
            ("--a  --b=c d --e", vec!["--a", "--b=c"], "d --e"),
            ("--a -- --b c", vec!["--a"], "--b c"),
            ("--a=\"b c\"'d e'\\ f g", vec!["--a=b cd e f"], "g"),
            ("--a='b", vec!["--a=b"], ""),
            ("--a\\", vec!["--a"], ""),
            ("--", vec![], ""),
            ("-a b", vec![], "-a b"),
            ("--ä=ö ü", vec!["--ä=ö"], "ü"),
        ] {
            let joined = joined(text);
            let (found, operands) = split(joined.whole());
            let found: Vec<_> = found.iter().map(|flag| flag.text()).collect();
            assert_eq!((found, operands.text()), (flags, rest), "{text}");
        }
    }

    fn error(text: &str) -> (String, Option<String>, String) {
        let joined = joined(text);
        let (flags, _) = split(joined.whole());
        let error = check(&flags, &KNOWN).unwrap_err();
        let span = error.span.unwrap();
        (error.message, error.hint, text[span.start..span.end].to_owned())
    }

    #[test]
    fn errors() {
        const SWITCH: &str = "write --link, --link=true or --link=false";
        for (text, message, hint, at) in [
            ("--form=a", "unknown flag: --form", Some("did you mean --from?"), "--form=a"),
            ("--x", "unknown flag: --x", Some("there are --from, --link and --exclude"), "--x"),
            ("--from=a --from=b", "duplicate flag specified: --from", None, "--from=b"),
            ("--link --link=false", "duplicate flag specified: --link", None, "--link=false"),
            (
                "--from",
                "missing a value on flag: --from",
                Some("write --from=VALUE, without a blank"),
                "--from",
            ),
            (
                "--exclude",
                "missing a value on flag: --exclude",
                Some("write --exclude=VALUE, without a blank"),
                "--exclude",
            ),
            ("--link=", "missing a value on flag: --link", Some(SWITCH), "--link="),
            (
                "--link=1",
                "expecting boolean value for flag --link, not: 1",
                Some(SWITCH),
                "--link=1",
            ),
        ] {
            let expect = (message.to_owned(), hint.map(str::to_owned), at.to_owned());
            assert_eq!(error(text), expect, "{text}");
        }
    }

    #[test]
    fn values() {
        let joined = joined("--from= --link=TRUE --exclude=a --exclude='b'");
        let (flags, _) = split(joined.whole());
        let flags = check(&flags, &KNOWN).unwrap();
        assert!(flags.word("from").is_none());
        assert_eq!(flags.switch("link"), Some(true));
        let exclude: Vec<_> =
            flags.values("exclude").map(|v| (v.word().text, v.word().span)).collect();
        assert_eq!(exclude[0].0, "a");
        assert_eq!(joined.whole().text()[exclude[0].1.start..exclude[0].1.end], *"a");
        assert_eq!(exclude[1].0, "b");
        assert_eq!(joined.whole().text()[exclude[1].1.start..exclude[1].1.end], *"--exclude='b'");
    }
}
