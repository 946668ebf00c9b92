//! The steps that a Dockerfile led to when it was last built: a trail back, to see why a step is not found any more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Record, RecordKey, Store,
    error::Error,
    record::Kind,
    step::{hex, unhex},
};

/// The steps of the last build of a Dockerfile. It explains, and nothing depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The steps that made layers, by what the build called their stage, in their order.
    pub stages: BTreeMap<String, Vec<Footprint>>,
}

/// One step of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// The instruction.
    pub title: String,
    key: String,
}

impl Footprint {
    /// A step and the key that it had.
    pub fn new(title: String, key: &RecordKey) -> Self {
        Self { title, key: hex(key) }
    }

    /// The key that it had.
    pub fn key(&self) -> Option<RecordKey> {
        unhex(&self.key)
    }
}

impl Store {
    /// Returns the trail kept under a name, `None` if there is none.
    pub fn trail(&self, name: &[u8; 32]) -> Result<Option<Trail>, Error> {
        self.inner.get(Kind::Trail, &hex(name))
    }

    /// Keeps a trail, in place of an older one.
    pub fn put_trail(&self, name: &[u8; 32], trail: &Trail) -> Result<(), Error> {
        self.inner.put(Kind::Trail, &hex(name), trail)
    }

    /// Returns what a key was made of, `None` if its step is forgotten. What the step has made may be gone all the same.
    pub fn ingredients(&self, key: &RecordKey) -> Result<Option<Vec<(String, String)>>, Error> {
        let record: Option<Record> = self.inner.get(Kind::Step, &hex(key))?;
        Ok(record.map(|record| record.ingredients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CacheRule, Collect, ImageRule, testing::Scratch};

    #[test]
    fn a_trail_is_kept_until_the_cache_is_emptied() {
        let scratch = Scratch::new("trail");
        let store = scratch.store();
        let name = [7; 32];
        assert_eq!(store.trail(&name).unwrap(), None);
        let mut trail = Trail::default();
        trail.stages.insert("0".into(), vec![Footprint::new("RUN make".into(), &[1; 32])]);
        store.put_trail(&name, &trail).unwrap();
        assert_eq!(store.trail(&name).unwrap().as_ref(), Some(&trail));
        assert_eq!(trail.stages["0"][0].key(), Some([1; 32]));
        assert_eq!(store.ingredients(&[1; 32]).unwrap(), None);

        let all = Collect { images: ImageRule::Keep, cache: CacheRule::All, mounts: false };
        store.collect(&all).unwrap();
        assert_eq!(store.trail(&name).unwrap(), None);
    }
}
