//! How many steps run side by side, by what the machine says of itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// What two processors, both shares in percent, make of it: `asked running long short`, where a share is `processor/memory`.
fn check(situation: &str, expected: bool) {
    let fields: Vec<&str> = situation.split(' ').collect();
    let share = |text: &str| {
        let (processor, memory) = text.split_once('/')?;
        let percent = |text: &str| text.parse::<f64>().unwrap() / 100.0;
        Some(Share { processor: percent(processor), memory: percent(memory) })
    };
    let situation_of = Situation {
        asked: fields[0].parse().ok(),
        processors: 2,
        running: fields[1].parse().unwrap(),
        long: share(fields[2]),
        short: share(fields[3]),
    };
    assert_eq!(situation_of.may_start(), expected, "{situation}");
}

#[test]
fn what_was_asked_for_is_all_that_counts() {
    check("1 0 100/100 100/100", true);
    check("1 1 0/0 0/0", false);
    check("3 2 100/100 100/100", true);
    check("3 3 0/0 0/0", false);
    check("200 150 100/100 -", true);
}

#[test]
fn one_always_runs_and_as_many_as_processors_unless_memory_is_short() {
    check("- 0 100/100 100/100", true);
    check("- 1 - -", true);
    check("- 1 100/9 -", true);
    check("- 1 0/10 -", false);
    check("- 5 0/50 0/0", false);
}

#[test]
fn some_more_run_unless_the_machine_has_been_busy() {
    check("- 2 - -", true);
    check("- 7 - -", true);
    check("- 2 79/0 100/0", true);
    check("- 2 80/0 0/0", false);
    check("- 7 100/0 0/0", false);
}

#[test]
fn very_many_run_only_on_a_machine_that_is_seen_idle() {
    check("- 8 - -", false);
    check("- 8 0/0 -", false);
    check("- 8 0/0 49/9", true);
    check("- 8 0/0 50/0", false);
    check("- 8 0/0 0/10", false);
    check("- 63 0/0 0/0", true);
    check("- 64 0/0 0/0", false);
}

fn seen(begin: Instant, milliseconds: u64, waited: u64) -> Seen {
    let processor = Duration::from_millis(waited);
    let pressure = Pressure { processor, memory: Duration::ZERO };
    Seen { at: begin + Duration::from_millis(milliseconds), pressure }
}

#[test]
fn a_long_time_is_at_least_a_second() {
    let (begin, mut state) = (Instant::now(), State::default());
    let mut long = |at, waited| state.long(seen(begin, at, waited)).map(|share| share.processor);
    assert_eq!(long(0, 0), None);
    assert_eq!(long(999, 999), None);
    assert_eq!(long(1000, 500), Some(0.5));
    assert_eq!(long(1500, 750), Some(0.5));
    // From here on it is the second before that counts.
    assert_eq!(long(2000, 1250), Some(0.75));
    assert_eq!(long(2500, 2000), Some(1.0));
}

#[test]
fn very_many_start_in_waves_that_double() {
    let begin = Instant::now();
    let jobs =
        Jobs { asked: None, processors: || 2, state: Mutex::default(), freed: Condvar::new() };
    let mut state = jobs.state();
    let mut counts = Vec::new();
    // A look every 5 ms, and as many starts as it allows.
    for look in 0..30 {
        let now = seen(begin, look * 5, 0);
        while jobs.situation(&mut state, Some(now)).may_start() {
            state.note_start(usual(2), Some(now));
        }
        counts.push(state.running);
    }
    counts.dedup();
    assert_eq!(counts, [8, 16, 32, 64]);
}

#[test]
fn no_more_than_asked_for_at_any_time() {
    let jobs = Jobs::new(NonZeroUsize::new(3));
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let _started = jobs.start(&Cancel::default()).unwrap();
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(most.into_inner(), 3);
}

#[test]
fn who_waits_can_be_cancelled() {
    let (jobs, cancel) = (Jobs::new(NonZeroUsize::new(1)), Cancel::default());
    let _started = jobs.start(&cancel).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| jobs.start(&cancel).map(drop));
        cancel.cancel();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Cancelled)));
    });
}
