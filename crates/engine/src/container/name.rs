//! Names for containers that were given none: an adjective and somebody who deserves to be remembered.

use std::hash::{BuildHasher, Hasher, RandomState};

const ADJECTIVES: &[&str] = &[
    "able", "agile", "airy", "alert", "ample", "amused", "awake", "balanced", "bold", "brave",
    "breezy", "bright", "brisk", "calm", "candid", "careful", "cheerful", "civil", "clear",
    "clever", "cosy", "crisp", "curious", "daring", "deft", "diligent", "eager", "earnest", "easy",
    "fair", "famous", "fearless", "fine", "fond", "frank", "free", "fresh", "friendly", "frugal",
    "gallant", "generous", "gentle", "glad", "golden", "grand", "handy", "hardy", "hearty",
    "honest", "humble", "idle", "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid",
    "lucky", "mellow", "merry", "mild", "modest", "neat", "nimble", "noble", "open", "patient",
    "plain", "playful", "polite", "proud", "prudent", "quick", "quiet", "rapid", "ready", "robust",
    "rosy", "serene", "shiny", "silent", "sincere", "skilful", "smooth", "snug", "sober",
    "spirited", "steady", "still", "sturdy", "sunny", "swift", "tender", "thrifty", "tidy",
    "tranquil", "trusty", "upbeat", "useful", "vivid", "warm", "wise", "witty", "zealous",
];

const SURNAMES: &[&str] = &[
    "abel",
    "aiken",
    "almeida",
    "ampere",
    "anning",
    "archimedes",
    "avicenna",
    "babbage",
    "bartik",
    "bernoulli",
    "bessel",
    "bohr",
    "boole",
    "booth",
    "bose",
    "brahmagupta",
    "cantor",
    "carson",
    "cauchy",
    "celsius",
    "cerf",
    "chandrasekhar",
    "clarke",
    "cori",
    "curie",
    "darwin",
    "dijkstra",
    "diophantus",
    "dirac",
    "easley",
    "eckert",
    "einstein",
    "elion",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fibonacci",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goedel",
    "goldberg",
    "goodall",
    "hamilton",
    "hamming",
    "hawking",
    "hertz",
    "hilbert",
    "hodgkin",
    "hooke",
    "hopper",
    "huygens",
    "hypatia",
    "jackson",
    "jennings",
    "johnson",
    "kalman",
    "kepler",
    "khayyam",
    "khwarizmi",
    "kleene",
    "knuth",
    "kovalevskaya",
    "lagrange",
    "lamarr",
    "lamport",
    "laplace",
    "lavoisier",
    "leavitt",
    "leibniz",
    "linnaeus",
    "liskov",
    "lovelace",
    "mccarthy",
    "mcclintock",
    "maxwell",
    "meitner",
    "mendel",
    "mendeleev",
    "mirzakhani",
    "moser",
    "napier",
    "neumann",
    "newton",
    "nightingale",
    "nobel",
    "noether",
    "oersted",
    "ohm",
    "pascal",
    "pasteur",
    "payne",
    "peano",
    "perlman",
    "planck",
    "poincare",
    "ptolemy",
    "raman",
    "ramanujan",
    "ride",
    "riemann",
    "ritchie",
    "rubin",
    "sammet",
    "shannon",
    "somerville",
    "spence",
    "stonebraker",
    "swartz",
    "tarski",
    "tesla",
    "tharp",
    "thompson",
    "torvalds",
    "turing",
    "varahamihira",
    "vaughan",
    "volta",
    "wescoff",
    "wiles",
    "wilson",
    "wing",
    "wozniak",
    "wright",
    "yalow",
    "yonath",
    "zuse",
];

/// Makes up a name; one of a later attempt ends with a digit.
pub(super) fn generate(attempt: usize) -> String {
    let name = format!("{}_{}", pick(ADJECTIVES), pick(SURNAMES));
    if attempt == 0 { name } else { format!("{name}{}", random() % 10) }
}

fn pick(words: &'static [&'static str]) -> &'static str {
    let place = usize::try_from(random() % words.len() as u64).unwrap_or_default();
    words.get(place).copied().unwrap_or_default()
}

/// The standard library's hashers have random keys.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_differ_and_are_names() {
        let names: BTreeSet<String> = (0..200).map(|_| generate(0)).collect();
        assert!(names.len() > 150, "{}", names.len());
        for name in names.into_iter().chain([generate(1)]) {
            let (adjective, rest) = name.split_once('_').unwrap();
            assert!(ADJECTIVES.contains(&adjective), "{name}");
            assert!(
                SURNAMES.contains(&rest.trim_end_matches(|c: char| c.is_ascii_digit())),
                "{name}"
            );
        }
    }

    #[test]
    fn the_words_are_words() {
        for words in [ADJECTIVES, SURNAMES] {
            let distinct: BTreeSet<&str> = words.iter().copied().collect();
            assert_eq!(distinct.len(), words.len());
            assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())));
        }
    }
}
