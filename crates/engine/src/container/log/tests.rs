//! Lines in, lines out.

use std::{collections::BTreeMap, io::Write, path::Path};

use super::{super::options::LogLimits, write::LONGEST, *};

/// A log that is removed at the end of the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiln-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn writer(&self) -> LogWriter {
        self.limited(None, 1)
    }

    fn limited(&self, max_size: Option<u64>, max_files: usize) -> LogWriter {
        let limits = LogLimits { max_size, max_files };
        LogWriter::open(&self.0, limits, BTreeMap::new()).unwrap()
    }

    fn reader(&self) -> LogReader {
        LogReader::open(&self.0).unwrap().unwrap()
    }

    fn texts(&self) -> Vec<String> {
        rest(&mut self.reader())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        for number in 1..=files::full(&self.0) {
            let _ = std::fs::remove_file(files::numbered(&self.0, number));
        }
    }
}

fn rest(reader: &mut LogReader) -> Vec<String> {
    std::iter::from_fn(|| reader.next_entry().unwrap()).map(|entry| entry.text).collect()
}

#[test]
fn lines_come_back_as_they_were_written() {
    let scratch = Scratch::new("lines");
    let log = scratch.writer();
    {
        let (mut out, mut err) =
            (log.stream(OutputStream::Stdout), log.stream(OutputStream::Stderr));
        out.write(b"one\ntw");
        err.write(b"err \"quoted\" \\ \t\n");
        out.write(b"o\n\nthree");
    }
    let mut reader = scratch.reader();
    let entries: Vec<Entry> = std::iter::from_fn(|| reader.next_entry().unwrap()).collect();
    let short: Vec<(OutputStream, &str)> =
        entries.iter().map(|entry| (entry.stream, entry.text.as_str())).collect();
    assert_eq!(
        short,
        [
            (OutputStream::Stdout, "one\n"),
            (OutputStream::Stderr, "err \"quoted\" \\ \t\n"),
            (OutputStream::Stdout, "two\n"),
            (OutputStream::Stdout, "\n"),
            (OutputStream::Stdout, "three"),
        ]
    );
    assert!(entries.windows(2).all(|pair| pair[0].time <= pair[1].time));
    let text = std::fs::read_to_string(&scratch.0).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((line["log"].as_str(), line["stream"].as_str()), (Some("one\n"), Some("stdout")));
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn a_long_line_is_kept_in_pieces_of_whole_characters() {
    let scratch = Scratch::new("long");
    let line = "äöü€𝄞x".repeat(5_000) + "\n";
    let log = scratch.writer();
    // As a pipe hands it out, in pieces that know nothing of characters.
    let mut out = log.stream(OutputStream::Stdout);
    line.as_bytes().chunks(1_000).for_each(|chunk| out.write(chunk));
    drop(out);
    let texts = scratch.texts();
    assert!(texts.len() > 3 && texts.iter().all(|text| text.len() <= LONGEST), "{}", texts.len());
    assert_eq!(texts.concat(), line);
    let garbage = Scratch::new("garbage");
    garbage.writer().stream(OutputStream::Stdout).write(&[0x80; 40_000]);
    assert_eq!(garbage.texts().concat(), "\u{fffd}".repeat(40_000));
}

#[test]
fn the_end_of_a_log() {
    let scratch = Scratch::new("tail");
    let log = scratch.writer();
    let mut out = log.stream(OutputStream::Stdout);
    for number in 0..3_000 {
        out.write(format!("{number} {}\n", "x".repeat(number % 90)).as_bytes());
    }
    for (count, first) in [(0, None), (1, Some(2_999)), (2_000, Some(1_000)), (9_999, Some(0))] {
        let mut reader = scratch.reader();
        reader.seek_to_last(count).unwrap();
        let texts = rest(&mut reader);
        assert_eq!(texts.len(), count.min(3_000));
        let number = texts.first().map(|text| text.split(' ').next().unwrap().parse().unwrap());
        assert_eq!(number, first);
    }
}

#[test]
fn what_is_added_is_read_when_it_is_whole() {
    let scratch = Scratch::new("follow");
    let log = scratch.writer();
    log.stream(OutputStream::Stdout).write(b"one\n");
    let mut reader = scratch.reader();
    assert_eq!(rest(&mut reader), ["one\n"]);
    let whole = r#"{"log":"two\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#;
    let mut file = std::fs::OpenOptions::new().append(true).open(&scratch.0).unwrap();
    file.write_all(&whole.as_bytes()[..20]).unwrap();
    assert_eq!(rest(&mut reader), [""; 0]);
    file.write_all(&whole.as_bytes()[20..]).unwrap();
    file.write_all(b"\n{broken}\n").unwrap();
    log.stream(OutputStream::Stdout).write(b"three\n");
    assert_eq!(rest(&mut reader), ["two\n", "three\n"]);
    // Never started.
    assert!(LogReader::open(Path::new("/no/such/log")).unwrap().is_none());
}

/// Writes lines of ten bytes of text with these numbers.
fn write_numbers(log: &LogWriter, numbers: std::ops::Range<usize>) {
    let mut out = log.stream(OutputStream::Stdout);
    for number in numbers {
        out.write(format!("{number:09}\n").as_bytes());
    }
}

fn numbers(texts: &[String]) -> Vec<usize> {
    texts.iter().map(|text| text.trim().parse().unwrap()).collect()
}

#[test]
fn a_log_with_limits_keeps_the_end() {
    let scratch = Scratch::new("rotate");
    let log = scratch.limited(Some(1000), 3);
    write_numbers(&log, 0..500);
    let sizes: Vec<u64> = (0..4)
        .filter_map(|number| {
            Some(std::fs::metadata(files::numbered(&scratch.0, number)).ok()?.len())
        })
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    // A file is full when a line has reached the limit, and a line is not torn.
    assert!(sizes[1..].iter().all(|size| (1000..1100).contains(size)), "{sizes:?}");
    let kept = numbers(&scratch.texts());
    assert!(kept.len() > 20 && *kept.last().unwrap() == 499, "{kept:?}");
    assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{kept:?}");
    // From the end, over more than one file.
    for count in [0, 1, 15, 25, 1000] {
        let mut reader = scratch.reader();
        reader.seek_to_last(count).unwrap();
        assert_eq!(rest(&mut reader).len(), count.min(kept.len()), "{count}");
    }
    drop(log);
    // Opened again, with fewer files.
    write_numbers(&scratch.limited(Some(1000), 2), 500..530);
    assert_eq!(files::full(&scratch.0), 1);
    assert_eq!(*numbers(&scratch.texts()).last().unwrap(), 529);
}

#[test]
fn one_file_begins_anew() {
    let scratch = Scratch::new("truncate");
    let log = scratch.limited(Some(1000), 1);
    write_numbers(&log, 0..100);
    assert_eq!(files::full(&scratch.0), 0);
    let kept = numbers(&scratch.texts());
    assert!(kept.len() < 20 && *kept.last().unwrap() == 99, "{kept:?}");
}

#[test]
fn much_at_once_is_parted_at_lines() {
    let scratch = Scratch::new("parted");
    let log = scratch.limited(Some(5000), 9);
    let text: String = (0..300).map(|number| format!("{number:09}\n")).collect();
    log.stream(OutputStream::Stdout).write(text.as_bytes());
    assert!(files::full(&scratch.0) > 3);
    assert_eq!(numbers(&scratch.texts()), (0..300).collect::<Vec<_>>());
}

#[test]
fn who_follows_goes_on_in_the_next_file() {
    let scratch = Scratch::new("follow-on");
    let log = scratch.limited(Some(1000), 5);
    write_numbers(&log, 0..3);
    let mut reader = scratch.reader();
    let mut seen = rest(&mut reader);
    for begin in (3..200).step_by(7) {
        write_numbers(&log, begin..begin + 7);
        seen.extend(rest(&mut reader));
    }
    assert_eq!(numbers(&seen), (0..seen.len()).collect::<Vec<_>>());
    assert!(seen.len() >= 200);
    // One that was left behind reads what is still there.
    let mut slow = scratch.reader();
    write_numbers(&log, 1000..1500);
    let late = numbers(&rest(&mut slow));
    assert!(*late.last().unwrap() == 1499 && late.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn lines_say_whose_they_are() {
    let scratch = Scratch::new("attrs");
    let attrs = BTreeMap::from([("a".to_owned(), "b \"c\"".to_owned())]);
    let limits = LogLimits { max_size: None, max_files: 1 };
    let log = LogWriter::open(&scratch.0, limits, attrs.clone()).unwrap();
    log.stream(OutputStream::Stdout).write(b"one\n");
    let entry = scratch.reader().next_entry().unwrap().unwrap();
    assert_eq!((entry.text.as_str(), entry.attrs), ("one\n", attrs));
}
