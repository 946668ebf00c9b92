//! How often something is tried, and for how long: the only place that decides it. Whoever wants one thing carries one
//! [`Tries`] through all requests that it takes, so that tries never multiply.
//!
//! What is a failure that may pass is in [`Fault::is_passing`] and in [`crate::send`].

use std::{io, time::Duration};

use hyper::header;
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use tokio::time::Instant;

use crate::{Fault, Limits, exchange::Answer};

/// Counts tries, and waits between them.
#[derive(Debug)]
pub(crate) struct Tries {
    limits: Limits,
    retries: u32,
    /// When it first went wrong; forgotten when it goes on.
    since: Option<Instant>,
}

impl Tries {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: *limits, retries: 0, since: None }
    }

    /// Waits as long as the server asks, at least longer each time; false if there is no further try.
    pub(crate) async fn again(&mut self, asked: Option<Duration>) -> bool {
        self.wait(self.limits.patience, asked).await
    }

    /// Waits after a fault; false if there is no further try.
    pub(crate) async fn again_after(&mut self, fault: &Fault) -> bool {
        match patience(&self.limits, fault) {
            Some(patience) => self.wait(patience, None).await,
            None => false,
        }
    }

    /// Says that something has come: the time starts anew, the count does not.
    pub(crate) fn has_moved(&mut self) {
        self.since = None;
    }

    async fn wait(&mut self, patience: Duration, asked: Option<Duration>) -> bool {
        let spent = self.since.get_or_insert_with(Instant::now).elapsed();
        let Some(pause) = next(&self.limits, self.retries, spent, patience, asked) else {
            return false;
        };
        self.retries += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

/// How long is waited before the next try, if there is one.
fn next(
    limits: &Limits,
    retries: u32,
    spent: Duration,
    patience: Duration,
    asked: Option<Duration>,
) -> Option<Duration> {
    let backoff = limits.backoff.saturating_mul(1 << retries.min(16));
    let pause = asked.unwrap_or_default().max(backoff);
    let is_too_long = pause > limits.longest_pause || spent.saturating_add(pause) > patience;
    (retries < limits.retries && !is_too_long).then_some(pause)
}

/// From the first failure to the last try after such a fault; `None` if it does not pass.
fn patience(limits: &Limits, fault: &Fault) -> Option<Duration> {
    fault.is_passing().then(|| match is_refusal(fault) {
        true => limits.refused.min(limits.patience),
        false => limits.patience,
    })
}

/// Whether nobody is there at all, which is known at once and seldom changes soon.
fn is_refusal(fault: &Fault) -> bool {
    match fault {
        Fault::Lookup { .. } => true,
        Fault::Connect { source, .. } => source.kind() != io::ErrorKind::TimedOut,
        _ => false,
    }
}

/// The pause that a server asks for (RFC 9110, section 10.2.3): seconds, or a date, which counts from its own `Date`, so that
/// clocks need not agree.
pub(crate) fn retry_after(answer: &Answer) -> Option<Duration> {
    pause(answer.header(header::RETRY_AFTER)?, answer.header(header::DATE))
}

fn pause(asked: &str, date: Option<&str>) -> Option<Duration> {
    let asked = asked.trim();
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is as long as can be said.
        return Some(Duration::from_secs(asked.parse().unwrap_or(u64::MAX)));
    }
    let parse = |text: &str| DateTimeParser::new().parse_timestamp(text.trim()).ok();
    let until = parse(asked)?;
    let now = date.and_then(parse).unwrap_or_else(Timestamp::now);
    // One in the past asks for nothing.
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Fault {
        let source = io::ErrorKind::ConnectionRefused.into();
        Fault::Connect { host: "h.example:1".to_owned(), source }
    }

    fn silent() -> Fault {
        Fault::Timeout { of: "answer", after: Duration::from_secs(30) }
    }

    /// How many further tries there are, and how long all of it takes, if each one fails after some time.
    fn run(fault: &Fault, each: Duration) -> (u32, Duration) {
        let limits = Limits::standard();
        let (mut retries, mut spent) = (0, Duration::ZERO);
        while let Some(patience) = patience(&limits, fault)
            && let Some(pause) = next(&limits, retries, spent, patience, None)
        {
            retries += 1;
            spent += pause + each;
        }
        (retries, spent + each)
    }

    #[test]
    fn all_of_it_is_bounded() {
        let (retries, time) = run(&refused(), Duration::ZERO);
        assert!(retries > 0 && time < Duration::from_secs(3), "{retries} {time:?}");
        let (retries, time) = run(&silent(), Duration::from_secs(30));
        assert!(retries > 0 && time < Duration::from_secs(100), "{retries} {time:?}");
        let (retries, time) = run(&silent(), Duration::ZERO);
        assert_eq!(retries, Limits::standard().retries);
        assert!(time < Duration::from_secs(5), "{time:?}");
        assert_eq!(run(&Fault::Offline, Duration::ZERO).0, 0);
    }

    #[test]
    fn a_server_can_ask_for_longer_pauses() {
        let limits = Limits::standard();
        let next = |spent, asked| {
            let (spent, asked) = (Duration::from_secs(spent), Duration::from_secs(asked));
            next(&limits, 0, spent, limits.patience, Some(asked))
        };
        assert_eq!(next(0, 7), Some(Duration::from_secs(7)));
        // But not for shorter ones, for very long ones, or for more of them than there is patience.
        assert_eq!(next(0, 0), Some(limits.backoff));
        assert_eq!(next(0, 31), None);
        assert_eq!(next(25, 25), None);
        assert_eq!(next(0, u64::MAX), None);
    }

    #[test]
    fn pauses_are_seconds_or_dates() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (asked, date, expected) in [
            ("7", None, seconds(7)),
            (" 0 ", None, seconds(0)),
            ("99999999999999999999999", None, seconds(u64::MAX)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", date, seconds(23)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", date, seconds(0)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None, seconds(0)),
            ("soon", date, None),
            ("-1", date, None),
            ("", date, None),
        ] {
            assert_eq!(pause(asked, date), expected, "{asked} {date:?}");
        }
        let later = pause("Sun, 06 Nov 2095 08:50:00 GMT", Some("nonsense")).unwrap();
        assert!(later > Duration::from_secs(365 * 24 * 3600), "by the own clock");
    }
}
