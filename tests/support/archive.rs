//! Tar archives: made as input for kiln, and read as what it has built.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

/// Makes an archive entry by entry.
pub(crate) struct Tarball {
    builder: Builder<Vec<u8>>,
}

impl Tarball {
    pub(crate) fn new() -> Self {
        Self { builder: Builder::new(Vec::new()) }
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.owned_file(name, content, 0o644, 0, 0)
    }

    pub(crate) fn owned_file(
        mut self,
        name: &str,
        content: impl AsRef<[u8]>,
        mode: u32,
        uid: u64,
        gid: u64,
    ) -> Self {
        let content = content.as_ref();
        let mut header = header(EntryType::Regular, mode, uid, gid);
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, name, content).unwrap();
        self
    }

    pub(crate) fn dir(mut self, name: &str, mode: u32) -> Self {
        let mut header = header(EntryType::Directory, mode, 0, 0);
        self.builder.append_data(&mut header, name, std::io::empty()).unwrap();
        self
    }

    pub(crate) fn symlink(mut self, name: &str, target: &str) -> Self {
        let mut header = header(EntryType::Symlink, 0o777, 0, 0);
        self.builder.append_link(&mut header, name, target).unwrap();
        self
    }

    /// Mode and owner of a hard link's entry are those of the file that it leads to, and are applied again.
    pub(crate) fn owned_hard_link(
        mut self,
        name: &str,
        target: &str,
        mode: u32,
        uid: u64,
        gid: u64,
    ) -> Self {
        let mut header = header(EntryType::Link, mode, uid, gid);
        self.builder.append_link(&mut header, name, target).unwrap();
        self
    }

    /// An entry whose names stand there as they are, whatever they are.
    pub(crate) fn raw(mut self, kind: EntryType, name: &str, link: &str, content: &str) -> Self {
        let mut header = header(kind, 0o777, 0, 0);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.builder.append(&header, content.as_bytes()).unwrap();
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }
}

fn header(kind: EntryType, mode: u32, uid: u64, gid: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_mtime(1_700_000_000);
    header.set_size(0);
    header
}

/// gzip of these bytes.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast())
        .read_to_end(&mut compressed)
        .unwrap();
    compressed
}

/// `sha256:` and the digest of these bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    /// The target of a symbolic or hard link.
    pub(crate) link: Option<String>,
    pub(crate) content: Vec<u8>,
}

/// All entries of an archive by path, without a leading `./` or `/` and without a slash at the end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Entry>);

impl Tree {
    pub(crate) fn of_tar(bytes: &[u8]) -> Self {
        let mut entries = BTreeMap::new();
        for entry in Archive::new(bytes).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = clean(&String::from_utf8_lossy(&entry.path_bytes()));
            let link =
                entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            let value = Entry {
                kind: header.entry_type(),
                mode: header.mode().unwrap() & 0o7777,
                uid: header.uid().unwrap(),
                gid: header.gid().unwrap(),
                mtime: header.mtime().unwrap(),
                link,
                content,
            };
            entries.insert(path, value);
        }
        Self(entries)
    }

    /// The names below a directory, relative to it, sorted.
    pub(crate) fn names(&self, dir: &str) -> Vec<&str> {
        let prefix = format!("{}/", dir.trim_matches('/'));
        self.0.keys().filter_map(|path| path.strip_prefix(&prefix)).collect()
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    #[track_caller]
    pub(crate) fn entry(&self, path: &str) -> &Entry {
        self.0.get(path).unwrap_or_else(|| panic!("no {path} in {:?}", self.0.keys()))
    }

    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&self.entry(path).content).into_owned()
    }

    /// Permissions and owner, as in `755 0:0`.
    #[track_caller]
    pub(crate) fn owner(&self, path: &str) -> String {
        let entry = self.entry(path);
        format!("{:o} {}:{}", entry.mode, entry.uid, entry.gid)
    }
}

fn clean(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').to_owned()
}

/// An OCI image layout: its files by name, each blob checked against its digest.
pub(crate) struct Layout {
    files: Tree,
}

impl Layout {
    pub(crate) fn of_tar(bytes: &[u8]) -> Self {
        Self { files: Tree::of_tar(bytes) }
    }

    pub(crate) fn index(&self) -> Value {
        serde_json::from_slice(&self.files.entry("index.json").content).unwrap()
    }

    #[track_caller]
    pub(crate) fn blob(&self, descriptor: &Value) -> &[u8] {
        let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
        let content = &self.files.entry(&format!("blobs/{}", digest.replace(':', "/"))).content;
        assert_eq!(sha256(content), digest);
        assert_eq!(descriptor["size"].as_u64(), Some(content.len() as u64));
        content
    }

    /// The manifest that the index names, through a nested index if there is one.
    pub(crate) fn manifest(&self) -> Value {
        let mut document = self.index();
        while document.get("manifests").is_some() {
            document = serde_json::from_slice(self.blob(&document["manifests"][0])).unwrap();
        }
        document
    }

    pub(crate) fn config(&self) -> Value {
        serde_json::from_slice(self.blob(&self.manifest()["config"])).unwrap()
    }

    /// The uncompressed layers, each checked against its diff id.
    pub(crate) fn layers(&self) -> Vec<Vec<u8>> {
        let diff_ids = self.config()["rootfs"]["diff_ids"].clone();
        let manifest = self.manifest();
        let layers = manifest["layers"].as_array().expect("a manifest has layers");
        assert_eq!(diff_ids.as_array().map(Vec::len), Some(layers.len()));
        let mut tars = Vec::new();
        for (number, descriptor) in layers.iter().enumerate() {
            let blob = self.blob(descriptor);
            let tar = if blob.starts_with(&[0x1f, 0x8b]) {
                let mut tar = Vec::new();
                GzDecoder::new(blob).read_to_end(&mut tar).unwrap();
                tar
            } else {
                blob.to_vec()
            };
            assert_eq!(Value::from(sha256(&tar)), diff_ids[number]);
            tars.push(tar);
        }
        tars
    }
}
