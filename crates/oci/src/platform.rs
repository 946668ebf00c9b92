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

    /// Whether an image for `image` runs on this platform without emulation.
    pub fn runs(&self, image: &Self) -> bool {
        let (this, image) = (self.clone().normalized(), image.clone().normalized());
        this.os == image.os
            && this.architecture == image.architecture
            && (this.variant == image.variant || this.variant.is_none() || image.variant.is_none())
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

    fn normalized(mut self) -> Self {
        let implied = matches!(
            (self.architecture.as_str(), self.variant.as_deref()),
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) | (_, Some(""))
        );
        if implied {
            self.variant = None;
        }
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
    fn an_image_without_variant_runs_on_any() {
        let arm64 = Platform::parse("linux/arm64/v8").unwrap();
        assert!(arm64.runs(&Platform::parse("linux/arm64").unwrap()));
        assert!(!arm64.runs(&Platform::parse("linux/amd64").unwrap()));
    }
}
