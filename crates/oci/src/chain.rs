//! The name of a stack of layers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DiffId, Digest};

/// Names a layer together with all layers below it (image-spec, config.md, "Layer ChainID").
///
/// Made only by [`ChainId::bottom`] and [`ChainId::extend`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(DiffId);

impl ChainId {
    /// Returns the chain of one layer, which has the layer's own digest.
    pub fn bottom(layer: DiffId) -> Self {
        Self(layer)
    }

    /// Returns the chain with one more layer on top.
    pub fn extend(&self, layer: DiffId) -> Self {
        Self(DiffId::new(Digest::of(format!("{} {layer}", self.0).as_bytes())))
    }

    /// Returns the chain of each prefix of `layers`, which are in order from the bottom.
    pub fn of_each(layers: &[DiffId]) -> Vec<Self> {
        let mut chains: Vec<Self> = Vec::with_capacity(layers.len());
        for layer in layers {
            let chain =
                chains.last().map_or_else(|| Self::bottom(*layer), |below| below.extend(*layer));
            chains.push(chain);
        }
        chains
    }

    /// Returns the digest without its meaning.
    pub fn as_digest(&self) -> &Digest {
        self.0.as_digest()
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_digest(), f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_digest_of_the_two_names() {
        let a = DiffId::new(Digest::of(b"a"));
        let b = DiffId::new(Digest::of(b"b"));
        let chains = ChainId::of_each(&[a, b]);
        assert_eq!(chains[0].to_string(), a.to_string());
        assert_eq!(chains[1].as_digest(), &Digest::of(format!("{a} {b}").as_bytes()));
    }
}
