//! What an image runs on: operating system, architecture, variant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A platform as `os/architecture[/variant]` (image-spec, image-index.md, "platform"), with Go's names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the architecture: `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// Go's name of the operating system: `linux`, …
    #[serde(default)]
    pub os: String,
    /// Version of the operating system; only Windows images have one.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Variant of the processor: `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Returns the platform that this program was compiled for.
    pub fn host() -> Self {
        Self::linux(std::env::consts::ARCH)
    }

    /// Parses `os`, `architecture`, `os/architecture` or `os/architecture/variant`, and brings the names of other
    /// conventions (`x86_64`, `aarch64`, `armhf`) to Go's.
    pub fn parse(value: &str) -> Result<Self, Error> {
        let wrong = |reason| Error::Platform { value: value.to_owned(), reason };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.()".contains(c);
        let parts: Vec<&str> = value.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || !part.chars().all(plain)) {
            return Err(wrong(
                "a part is empty or has other characters than letters, digits, `_`, `-` and `.`",
            ));
        }
        match *parts.as_slice() {
            ["linux" | "windows" | "darwin" | "freebsd"] => {
                let host = Self::host();
                Ok(Self { os: value.to_owned(), ..host })
            }
            [architecture] => known(architecture)
                .then(|| Self::linux(architecture))
                .ok_or_else(|| wrong("unknown operating system or architecture")),
            [os, architecture] => Ok(Self { os: os_name(os), ..Self::linux(architecture) }),
            [os, architecture, variant] => {
                let platform = Self { os: os_name(os), ..Self::linux(architecture) };
                Ok(Self { variant: Some(variant.to_lowercase()), ..platform }.normalized())
            }
            _ => Err(wrong("more than three parts")),
        }
    }

    /// Whether this platform takes an image for `image`, by [`Platform::preference`].
    pub fn runs(&self, image: &Self) -> bool {
        self.preference(image).is_some()
    }

    /// How much this platform likes an image for `image`: 0 is what it asks for, more is what it puts up with, `None` is
    /// what it cannot run. As in containerd: an older variant of the processor after the own one, then the 32-bit
    /// architecture that the processor usually runs, too. What does not say its architecture comes last.
    pub fn preference(&self, image: &Self) -> Option<usize> {
        let (this, image) = (self.clone().normalized(), image.clone().normalized());
        let mut accepted = this.accepted();
        if image.architecture.is_empty() {
            return Some(accepted.len());
        }
        if this.os != image.os {
            return None;
        }
        accepted.dedup();
        accepted.iter().position(|(architecture, variant)| {
            *architecture == image.architecture && *variant == image.variant
        })
    }

    /// Whether the two are one platform, however they are written: `linux/arm64` and `linux/arm64/v8`.
    pub fn is_same(&self, other: &Self) -> bool {
        self.clone().normalized() == other.clone().normalized()
    }

    /// Chooses from `items` the one whose platform this one likes best, the first of several.
    pub fn choose<'a, T>(
        &self,
        items: impl IntoIterator<Item = &'a T>,
        platform: impl Fn(&T) -> Option<Self>,
    ) -> Option<&'a T> {
        let rank = |item: &'a T| Some((self.preference(&platform(item)?)?, item));
        items.into_iter().filter_map(rank).min_by_key(|(rank, _)| *rank).map(|(_, item)| item)
    }

    /// The architectures and variants that this platform runs, the best first.
    fn accepted(&self) -> Vec<(&str, Option<String>)> {
        let number = |lowest: u32| {
            let number = self.variant.as_deref().and_then(|variant| variant.strip_prefix('v'));
            number.and_then(|number| number.parse::<u32>().ok()).unwrap_or(lowest)
        };
        let down = |from: u32, to: u32| (to..=from.min(99)).rev().map(|n| Some(format!("v{n}")));
        let own = (self.architecture.as_str(), self.variant.clone());
        let plain = (self.architecture.as_str(), None);
        match self.architecture.as_str() {
            "amd64" => {
                let variants = down(number(1), 2).map(|variant| ("amd64", variant));
                variants.chain([plain, ("386", None)]).collect()
            }
            "arm" => std::iter::once(own)
                .chain(down(number(7), 5).map(|variant| ("arm", variant)))
                .collect(),
            "arm64" => {
                let small = down(8, 5).map(|variant| ("arm", variant));
                [own, plain].into_iter().chain(small).collect()
            }
            _ => vec![own, plain],
        }
    }

    fn linux(architecture: &str) -> Self {
        let lower = architecture.to_lowercase();
        let (architecture, variant) = match lower.as_str() {
            "x86_64" | "x86-64" | "amd64" => ("amd64", None),
            "aarch64" | "arm64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "arm" => ("arm", Some("v7")),
            "i386" | "i686" | "x86" | "386" => ("386", None),
            "powerpc64le" => ("ppc64le", None),
            other => (other, None),
        };
        Self {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            os_version: None,
            variant: variant.map(str::to_owned),
        }
    }

    /// The same with the names that are usual: no variant where it says nothing, a `v` in front of a number.
    fn normalized(mut self) -> Self {
        let variant = self.variant.take().unwrap_or_default().to_lowercase();
        let is_number = !variant.is_empty() && variant.bytes().all(|byte| byte.is_ascii_digit());
        let variant = if is_number { format!("v{variant}") } else { variant };
        self.variant = match (self.architecture.as_str(), variant.as_str()) {
            ("arm64", "v8") | ("amd64", "v1") => None,
            ("arm", "") => Some("v7".to_owned()),
            (_, "") => None,
            _ => Some(variant),
        };
        self
    }
}

fn os_name(os: &str) -> String {
    match os.to_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn known(architecture: &str) -> bool {
    const KNOWN: [&str; 18] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le",
        "riscv64", "s390x", "x86_64", "x86-64", "aarch64", "armhf", "armel", "i386", "wasm",
    ];
    KNOWN.contains(&architecture.to_lowercase().as_str())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        Self::parse(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_conventions_become_gos() {
        for (given, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("amd64", "linux/amd64"),
            ("Linux/AMD64", "linux/amd64"),
        ] {
            assert_eq!(Platform::parse(given).unwrap().to_string(), expected, "{given}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["", "/", "linux/", "a/b/c/d", "nonsense", "linux/a b"] {
            assert!(Platform::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_best_image_is_chosen() {
        for (wanted, offered, expected) in [
            ("linux/arm64", "linux/arm64/v8", Some("linux/arm64")),
            ("linux/arm64/v8", "linux/arm64", Some("linux/arm64")),
            ("linux/arm64", "linux/amd64", None),
            ("linux/arm64", "linux/arm/v7 linux/arm64", Some("linux/arm64")),
            ("linux/arm64", "linux/amd64 linux/arm/v6 linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm/v7", "linux/arm/v5 linux/arm/v6", Some("linux/arm/v6")),
            ("linux/arm/v6", "linux/arm/v7 linux/arm/v5", Some("linux/arm/v5")),
            ("linux/arm/v6", "linux/arm/v7 linux/arm64", None),
            ("linux/amd64", "linux/386 linux/amd64", Some("linux/amd64")),
            ("linux/amd64", "linux/386", Some("linux/386")),
            ("linux/386", "linux/amd64", None),
            ("linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4", Some("linux/amd64/v2")),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/ppc64le linux/riscv64", Some("linux/riscv64")),
        ] {
            let wanted = Platform::parse(wanted).unwrap();
            let offered: Vec<Platform> =
                offered.split(' ').map(|name| Platform::parse(name).unwrap()).collect();
            let chosen = wanted.choose(&offered, |platform| Some(platform.clone()));
            let chosen = chosen.map(ToString::to_string);
            assert_eq!(chosen.as_deref(), expected, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn one_platform_has_several_spellings() {
        let arm64 = Platform::parse("linux/arm64").unwrap();
        let written = Platform { variant: Some("v8".to_owned()), ..arm64.clone() };
        assert!(arm64.is_same(&written) && written.is_same(&arm64));
        let [six, seven] = ["6", "v7"].map(|variant| Platform {
            architecture: "arm".to_owned(),
            variant: Some(variant.to_owned()),
            ..arm64.clone()
        });
        assert!(seven.is_same(&Platform { variant: None, ..seven.clone() }));
        assert!(six.is_same(&Platform::parse("linux/arm/v6").unwrap()) && !six.is_same(&seven));
    }

    #[test]
    fn an_image_that_does_not_say_is_the_last_choice() {
        let silent = Platform { architecture: String::new(), ..Platform::host() };
        let host = Platform::host();
        assert!(host.runs(&silent));
        let offered = [silent, host.clone()];
        assert_eq!(host.choose(&offered, |platform| Some(platform.clone())), Some(&offered[1]));
    }
}
