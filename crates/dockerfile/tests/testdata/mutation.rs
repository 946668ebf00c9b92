//! No input makes the parser panic, and what it says about places is true: a few thousand Dockerfiles, made by
//! changing those of `testdata` in ways that are random but the same in each run.

use dockerfile::{Span, parse, parse_trigger};

/// How many changed files are tried.
const CASES: usize = 10_000;

/// What is put in: all that means something to the grammar.
const TOKENS: [&str; 36] = [
    "\\",
    "`",
    "\n",
    "\r\n",
    " ",
    "\t",
    "#",
    "<<",
    "<<-EOF",
    "EOF",
    "\nEOF\n",
    "'",
    "\"",
    "[",
    "]",
    "\",\"",
    "$",
    "${",
    "}",
    ":-",
    "=",
    "--",
    "--mount=",
    "type=cache,",
    "ONBUILD ",
    "FROM ",
    "RUN ",
    "COPY ",
    "HEALTHCHECK CMD ",
    "# escape=`\n",
    "\u{feff}",
    "é",
    "\u{2003}",
    "\u{0}",
    "/",
    ",",
];

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(20)).min(bytes.len());
    match random.below(6) {
        0 => drop(bytes.drain(at..end)),
        1 => {
            let copy = bytes[at..end].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copy);
        }
        2 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        3 => {
            let from = random.below(other.len());
            let to = (from + random.below(80)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        4 => bytes.truncate(at),
        _ => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..at, token.bytes());
        }
    }
}

#[test]
fn no_input_panics() {
    let mut seeds = Vec::new();
    for path in super::dockerfiles("ok").iter().chain(&super::dockerfiles("err")) {
        let seed = std::fs::read(path).unwrap();
        // The one file with a very long line would make up most of the time.
        if seed.len() < 10_000 {
            seeds.push(seed);
        }
    }
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut good = 0;
    for _ in 0..CASES {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let other = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            change(&mut bytes, &other, &mut random);
        }
        good += usize::from(try_one(&bytes));
    }
    // Neither all nor none: else the changes are too small, or too large, to test much.
    assert!((CASES / 20..CASES).contains(&good), "{good} of {CASES} are still good");
}

/// Parses, checks the places, and returns whether it is a good file.
fn try_one(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    // Its result is of no interest.
    drop(parse_trigger(&text, Span::default()));
    match parse("Dockerfile", bytes) {
        Ok(dockerfile) => {
            super::tree::render(&dockerfile);
            for statement in dockerfile.stages.iter().flat_map(|stage| &stage.steps) {
                let place = dockerfile.source.text().get(statement.span.start..statement.span.end);
                let keyword =
                    place.and_then(|place| place.get(..statement.instruction.keyword().len()));
                let Some(keyword) = keyword else { panic!("{text:?}: {statement:?}") };
                // The keyword itself may be continued on the next line.
                if !keyword.contains(['\n', '\\', '`']) {
                    let expect = statement.instruction.keyword();
                    assert!(keyword.eq_ignore_ascii_case(expect), "{text:?}: {statement:?}");
                }
            }
            true
        }
        Err(failed) => {
            super::message(&failed);
            if let Some(span) = failed.diagnostic.span {
                let place = failed.source.text().get(span.start..span.end);
                assert!(place.is_some(), "{text:?}: {failed:?}");
            }
            false
        }
    }
}
