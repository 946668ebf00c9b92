//! Options of Docker that kiln has no answer to: refused with the reason, and not ignored in silence. Each command has a
//! table of its own.

use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::report::Failure;

/// An option, the values of it that change nothing, and why every other is refused.
pub(super) type Entry = (&'static str, &'static [&'static str], &'static str);

/// The options that a command refuses.
pub(super) trait Table {
    /// By their names.
    const OPTIONS: &'static [Entry];
    /// The same of those that need no value: without one, it is `true`.
    const SWITCHES: &'static [Entry] = &[];
}

/// What was given of a table's options.
#[derive(Debug, Clone)]
pub(crate) struct Refused<T> {
    /// The option and why it is refused.
    given: Option<(&'static str, &'static str)>,
    table: PhantomData<T>,
}

impl<T> Refused<T> {
    /// Returns an error if anything was given that would have to be ignored.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.given {
            Some((name, reason)) => {
                Err(Failure::usage(format!("--{name} is not supported: {reason}")))
            }
            None => Ok(()),
        }
    }
}

impl<T: Table> clap::Args for Refused<T> {
    fn augment_args(command: Command) -> Command {
        let arg =
            |(name, _, _): &Entry| Arg::new(*name).long(*name).action(ArgAction::Append).hide(true);
        let switch = |entry: &Entry| {
            arg(entry).num_args(0..=1).require_equals(true).default_missing_value("true")
        };
        command.args(T::OPTIONS.iter().map(arg)).args(T::SWITCHES.iter().map(switch))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Table> clap::FromArgMatches for Refused<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let refused = |(name, harmless, _): &&Entry| {
            let values = matches.get_many::<String>(name).unwrap_or_default();
            values.into_iter().any(|value| !harmless.contains(&value.as_str()))
        };
        let given = T::OPTIONS.iter().chain(T::SWITCHES).find(refused);
        Ok(Self { given: given.map(|(name, _, reason)| (*name, *reason)), table: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
