//! The written format of keys, and the ingredients that are noted while it is written.

use oci::ContentDigest;

use super::{Derived, Ingredient, StepKey, VERSION, tag};
use crate::{Script, redact};

/// Writes fields into the hash, and what people should know of them into the ingredients.
pub(super) struct Recipe {
    pub(super) writer: Writer,
    ingredients: Vec<Ingredient>,
}

impl Recipe {
    /// Without a parent, the result stands on nothing.
    pub(super) fn new(tag: u8, parent: Option<&StepKey>) -> Self {
        let mut recipe = Self { writer: Writer::new(tag), ingredients: Vec::new() };
        match parent {
            Some(parent) => {
                recipe.writer.bytes(parent.as_bytes());
                recipe.add("parent", parent.to_string());
            }
            None => recipe.writer.bytes(Writer::new(tag::LINK_ROOT).finish().as_bytes()),
        }
        recipe
    }

    /// Adds an ingredient. It is written to a record and shown to people; only the hash is made of passwords.
    pub(super) fn add(&mut self, name: &str, value: String) {
        let (name, value) = (redact(name), redact(&value));
        self.ingredients.push(Ingredient { name, value });
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.writer.text(value);
        self.add(name, value.to_owned());
    }

    /// An optional flag is an ingredient only when it is given.
    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        self.writer.option(value, Writer::text);
        if let Some(value) = value {
            self.add(name, value.to_owned());
        }
    }

    pub(super) fn choice(&mut self, name: &str, tag: u8, value: &str) {
        self.writer.byte(tag);
        self.add(name, value.to_owned());
    }

    pub(super) fn list(&mut self, name: &str, values: &[String]) {
        self.writer.number(values.len());
        for value in values {
            self.writer.text(value);
        }
        self.add(name, values.join(" "));
    }

    pub(super) fn contents(
        &mut self,
        names: impl Iterator<Item = String>,
        contents: &[ContentDigest],
    ) {
        self.writer.number(contents.len());
        let names = names.map(|name| format!("content {name}"));
        let names = names.chain(std::iter::repeat("content".to_owned()));
        for (name, content) in names.zip(contents) {
            self.writer.bytes(content.as_bytes());
            self.add(&name, content.to_string());
        }
    }

    pub(super) fn finish(self) -> Derived {
        let key = self.writer.finish();
        Derived { key, on_top: key, ingredients: self.ingredients }
    }
}

/// The written format.
pub(super) struct Writer(blake3::Hasher);

impl Writer {
    pub(super) fn new(tag: u8) -> Self {
        let mut writer = Self(blake3::Hasher::new());
        writer.bytes(&VERSION.to_le_bytes());
        writer.byte(tag);
        writer
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.update(&[byte]);
    }

    pub(super) fn number(&mut self, number: usize) {
        self.bytes(&(number as u64).to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes(text.as_bytes());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn script(&mut self, script: &Script) {
        self.text(&script.name);
        self.text(&script.body);
    }

    pub(super) fn owner(&mut self, mode: u32, uid: u32, gid: u32) {
        for number in [mode, uid, gid] {
            self.bytes(&number.to_le_bytes());
        }
    }

    pub(super) fn finish(self) -> StepKey {
        StepKey(*self.0.finalize().as_bytes())
    }
}
