//! The id of a container: 64 hexadecimal digits, as Docker's.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tmp;

/// How much of an id is shown where there is little room.
const SHORT: usize = 12;

/// Names a container. Never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId([u128; 2]);

impl ContainerId {
    /// Returns an id that nothing else has.
    pub fn new_random() -> Self {
        let half = || u128::from_str_radix(&tmp::unique(), 16).unwrap_or_default();
        Self([half(), half()])
    }

    /// Reads an id: 64 lower-case hexadecimal digits.
    pub fn parse(value: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if value.len() != 64 || !value.bytes().all(is_digit) {
            return None;
        }
        let (high, low) = value.split_at(32);
        let half = |digits| u128::from_str_radix(digits, 16).ok();
        Some(Self([half(high)?, half(low)?]))
    }

    /// Returns the first digits: for tables, and the host name of the container.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(SHORT);
        text
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}{:032x}", self.0[0], self.0[1])
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContainerId({self})")
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        Self::parse(&value).ok_or_else(|| de::Error::custom("not a container's id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = ContainerId::new_random();
        assert_eq!(ContainerId::parse(&id.to_string()), Some(id));
        assert_ne!(ContainerId::new_random(), id);
        assert!(id.to_string().starts_with(&id.short()));
        for wrong in ["", "../x", &"0".repeat(63), &"G".repeat(64), &"A".repeat(64)] {
            assert_eq!(ContainerId::parse(wrong), None, "{wrong:?}");
        }
    }
}
