//! Lines in, lines out.

use super::*;

/// A log that is removed at the end of the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kiln-log-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn writer(&self) -> LogWriter {
        LogWriter::open(&self.0).unwrap()
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
    let mut file = &log.file;
    file.write_all(&whole.as_bytes()[..20]).unwrap();
    assert_eq!(rest(&mut reader), [""; 0]);
    file.write_all(&whole.as_bytes()[20..]).unwrap();
    file.write_all(b"\n{broken}\n").unwrap();
    log.stream(OutputStream::Stdout).write(b"three\n");
    assert_eq!(rest(&mut reader), ["two\n", "three\n"]);
    // Never started.
    assert!(LogReader::open(Path::new("/no/such/log")).unwrap().is_none());
}
