//! A registry in memory that takes what is pushed to it, as docker-registry does: uploads have a place of their own, and
//! each answer says where to go on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use oci::Digest;

use super::server::{Reply, Request};

#[derive(Clone, Default)]
pub(crate) struct Warehouse(Arc<Mutex<Shelves>>);

#[derive(Default)]
struct Shelves {
    /// By repository and digest.
    blobs: BTreeMap<(String, String), Vec<u8>>,
    /// By repository and name.
    manifests: BTreeMap<(String, String), Vec<u8>>,
    uploads: Vec<Vec<u8>>,
}

impl Warehouse {
    pub(crate) fn put(&self, repository: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), Digest::of(bytes).to_string());
        self.0.lock().unwrap().blobs.insert(key, bytes.to_vec());
    }

    pub(crate) fn blob(&self, repository: &str, bytes: &[u8]) -> bool {
        let key = (repository.to_owned(), Digest::of(bytes).to_string());
        self.0.lock().unwrap().blobs.get(&key).is_some_and(|there| there == bytes)
    }

    pub(crate) fn manifest(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().manifests.get(&(repository.to_owned(), name.to_owned())).cloned()
    }

    /// Answers as an honest registry does.
    pub(crate) fn serve(&self, request: &Request) -> Reply {
        let mut shelves = self.0.lock().unwrap();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let parameter = |name: &str| {
            let mut found = query.split('&').filter_map(|pair| pair.split_once('='));
            let value = found.find(|(key, _)| *key == name)?.1;
            Some(value.replace("%3A", ":").replace("%2F", "/"))
        };
        let Some(path) = path.strip_prefix("/v2/") else { return Reply::status(404) };
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            return match (request.method.as_str(), id) {
                ("POST", "") => {
                    let wanted = parameter("from").zip(parameter("mount"));
                    let found =
                        wanted.and_then(|key| Some((shelves.blobs.get(&key)?.clone(), key.1)));
                    if let Some((bytes, digest)) = found {
                        shelves.blobs.insert((repository.to_owned(), digest), bytes);
                        return Reply::status(201);
                    }
                    shelves.uploads.push(Vec::new());
                    goes_on(repository, shelves.uploads.len() - 1, 0)
                }
                (method, id) => {
                    let id: usize = id.parse().unwrap();
                    let has = shelves.uploads[id].len();
                    // As docker-registry, which signs where each answer says that the upload goes on.
                    if parameter("offset") != Some(has.to_string()) && method != "GET" {
                        return Reply::status(416);
                    }
                    shelves.uploads[id].extend_from_slice(&request.bytes);
                    if method != "PUT" || request.broken {
                        return goes_on(repository, id, shelves.uploads[id].len());
                    }
                    let digest = parameter("digest").unwrap();
                    if Digest::of(&shelves.uploads[id]).to_string() != digest {
                        let body = r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#;
                        return Reply::new(400, &[], body);
                    }
                    let bytes = shelves.uploads[id].clone();
                    shelves.blobs.insert((repository.to_owned(), digest), bytes);
                    Reply::status(201)
                }
            };
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            let key = (repository.to_owned(), digest.to_owned());
            return shelves.blobs.get(&key).map_or_else(|| Reply::status(404), Reply::ok);
        }
        if let Some((repository, name)) = path.split_once("/manifests/") {
            let key = (repository.to_owned(), name.to_owned());
            if request.method == "PUT" {
                shelves.manifests.insert(key, request.bytes.clone());
                return Reply::status(201);
            }
            return shelves.manifests.get(&key).map_or_else(|| Reply::status(404), Reply::ok);
        }
        Reply::status(404)
    }
}

fn goes_on(repository: &str, id: usize, has: usize) -> Reply {
    let location = format!("/v2/{repository}/blobs/uploads/{id}?offset={has}");
    let range = format!("0-{}", has.saturating_sub(1));
    Reply::new(202, &[("Location", &location), ("Range", &range)], "")
}
