//! What happens as lines of JSON, for programs: `--progress=rawjson`. Each line is a `SolveStatus` of BuildKit's client:
//!
//! ```text
//! {"vertexes":[{"digest":…,"name":"[1/2] RUN make","started":…,"completed":…,"cached":true,"error":…}]}
//! {"statuses":[{"id":…,"vertex":…,"current":0,"timestamp":…,"started":…,"completed":…}]}
//! {"logs":[{"vertex":…,"stream":1,"data":"base64","timestamp":…}]}
//! {"warnings":[{"vertex":…,"level":1,"short":"base64","detail":["base64"]}]}
//! ```
//!
//! A vertex is a step of this build; what it is made of is not in its digest, which only tells vertexes apart. Bytes are
//! base64, and times RFC 3339, as Go writes both.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    sync::mpsc::Receiver,
    time::Instant,
};

use engine::{Event, Moment, StepNumber, Stream};
use jiff::Timestamp;
use oci::Digest;
use registry::base64;
use serde_json::{Value, json};

use super::in_batches;

/// Shows events until the build ends.
pub(super) fn show(events: Receiver<Moment>) {
    let mut raw = RawJson { out: BufWriter::new(io::stderr()), steps: BTreeMap::new() };
    in_batches(&events, |batch| {
        for Moment { at, event, .. } in batch {
            // Nobody reads what cannot be written; the build goes on.
            let _ = raw.show(event, timestamp(at));
        }
        let _ = raw.out.flush();
    });
}

/// Tells of an image as BuildKit tells of its export: a vertex with a status for the id and one for each name.
pub(crate) fn tell_image(id: &str, names: &[String]) {
    let _ = image(&mut io::stderr(), id, names, Timestamp::now());
}

fn image(out: &mut impl Write, id: &str, names: &[String], now: Timestamp) -> io::Result<()> {
    let name = "exporting to image";
    let digest = Digest::of(format!("{name} {id}").as_bytes()).to_string();
    let vertex =
        json!({ "digest": digest, "name": name, "started": time(now), "completed": time(now) });
    let lines = std::iter::once(format!("writing image {id}"));
    let lines = lines.chain(names.iter().map(|name| format!("naming to {name}")));
    let statuses: Vec<Value> = lines.map(|line| status(&line, &digest, now)).collect();
    writeln!(out, "{}", json!({ "vertexes": [vertex], "statuses": statuses }))
}

struct RawJson<W> {
    out: W,
    steps: BTreeMap<StepNumber, Step>,
}

struct Step {
    digest: String,
    name: String,
    started: Timestamp,
}

impl<W: Write> RawJson<W> {
    fn show(&mut self, event: Event, now: Timestamp) -> io::Result<()> {
        let line = match event {
            Event::Started { step, heading } => {
                let name = heading.to_string();
                let digest = Digest::of(format!("{step} {name}").as_bytes()).to_string();
                self.steps.insert(step, Step { digest, name, started: now });
                self.vertex(step, json!({}))
            }
            Event::Cached { step } => {
                self.vertex(step, json!({ "completed": time(now), "cached": true }))
            }
            Event::Done { step, .. } => self.vertex(step, json!({ "completed": time(now) })),
            Event::Failed { step, message } => {
                self.vertex(step, json!({ "completed": time(now), "error": message }))
            }
            Event::Missed { step, reason } => self.steps.get(&step).map(|step| {
                let status = status(&format!("not cached: {reason}"), &step.digest, now);
                json!({ "statuses": [status] })
            }),
            Event::Reading { step, done, size } => self.steps.get(&step).map(|step| {
                let started = time(step.started);
                let status = json!({ "id": "reading files", "vertex": &step.digest, "current": done, "total": size, "timestamp": time(now), "started": started });
                json!({ "statuses": [status] })
            }),
            Event::Output { step, stream, bytes } => self.steps.get(&step).map(|step| {
                let stream = match stream {
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                };
                let data = base64::encode(&bytes);
                let vertex = &step.digest;
                json!({ "logs": [{ "vertex": vertex, "stream": stream, "data": data, "timestamp": time(now) }] })
            }),
            Event::Note(text) | Event::Warning(text) => Some(warning(&text)),
        };
        match line {
            Some(line) => writeln!(self.out, "{line}"),
            None => Ok(()),
        }
    }

    /// A step with what is known of it, as it is told whenever that changes.
    fn vertex(&self, step: StepNumber, more: Value) -> Option<Value> {
        let Step { digest, name, started } = self.steps.get(&step)?;
        let mut vertex = json!({ "digest": digest, "name": name, "started": time(*started) });
        if let (Some(vertex), Value::Object(more)) = (vertex.as_object_mut(), more) {
            vertex.extend(more);
        }
        Some(json!({ "vertexes": [vertex] }))
    }
}

fn status(id: &str, vertex: &str, now: Timestamp) -> Value {
    let now = time(now);
    json!({ "id": id, "vertex": vertex, "current": 0, "timestamp": now, "started": now, "completed": now })
}

fn warning(text: &str) -> Value {
    let mut lines = text.lines().map(|line| base64::encode(line.as_bytes()));
    let short = lines.next().unwrap_or_default();
    let detail: Vec<String> = lines.collect();
    match detail.is_empty() {
        true => json!({ "warnings": [{ "level": 1, "short": short }] }),
        false => json!({ "warnings": [{ "level": 1, "short": short, "detail": detail }] }),
    }
}

/// The time of day of a moment that has just passed.
fn timestamp(at: Instant) -> Timestamp {
    let now = Timestamp::now();
    now.checked_sub(at.elapsed()).unwrap_or(now)
}

fn time(time: Timestamp) -> String {
    time.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engine::Heading;

    use super::*;

    fn lines(events: Vec<Event>) -> Vec<Value> {
        let mut raw = RawJson { out: Vec::new(), steps: BTreeMap::new() };
        for event in events {
            raw.show(event, Timestamp::UNIX_EPOCH).unwrap();
        }
        let text = String::from_utf8(raw.out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn started(step: StepNumber) -> Event {
        let title = "RUN make".to_owned();
        let heading = Heading { platform: None, stage: None, position: Some((1, 2)), title };
        Event::Started { step, heading }
    }

    #[test]
    fn a_step_is_a_vertex() {
        let bytes = b"hi\n".to_vec();
        let lines = lines(vec![
            started(7),
            Event::Missed { step: 7, reason: "a changed".to_owned() },
            Event::Reading { step: 7, done: 5, size: 9 },
            Event::Output { step: 7, stream: Stream::Stderr, bytes },
            Event::Done { step: 7, elapsed: Duration::ZERO },
        ]);
        let digest = lines[0]["vertexes"][0]["digest"].as_str().unwrap();
        assert!(Digest::parse(digest).is_ok());
        let now = "1970-01-01T00:00:00Z";
        let vertex = json!({ "digest": digest, "name": "[1/2] RUN make", "started": now });
        assert_eq!(lines[0], json!({ "vertexes": [vertex] }));
        assert_eq!(lines[1]["statuses"][0]["id"], "not cached: a changed");
        assert_eq!(lines[1]["statuses"][0]["vertex"], digest);
        let status = &lines[2]["statuses"][0];
        assert_eq!((&status["current"], &status["total"]), (&json!(5), &json!(9)));
        assert_eq!((&status["id"], &status["started"]), (&json!("reading files"), &json!(now)));
        let log = json!({ "vertex": digest, "stream": 2, "data": "aGkK", "timestamp": now });
        assert_eq!(lines[3], json!({ "logs": [log] }));
        let mut done = vertex;
        done["completed"] = now.into();
        assert_eq!(lines[4], json!({ "vertexes": [done] }));
    }

    #[test]
    fn ends_of_steps_and_warnings() {
        let lines = lines(vec![
            started(1),
            started(2),
            Event::Cached { step: 1 },
            Event::Failed { step: 2, message: "exit code: 3".to_owned() },
            Event::Warning("one\ntwo".to_owned()),
            Event::Output { step: 9, stream: Stream::Stdout, bytes: Vec::new() },
        ]);
        assert_ne!(lines[0]["vertexes"][0]["digest"], lines[1]["vertexes"][0]["digest"]);
        assert_eq!(lines[2]["vertexes"][0]["cached"], true);
        assert_eq!(lines[3]["vertexes"][0]["error"], "exit code: 3");
        let warning = json!({ "level": 1, "short": "b25l", "detail": ["dHdv"] });
        assert_eq!(lines[4], json!({ "warnings": [warning] }));
        assert_eq!(lines.len(), 5, "what no step has begun is not told");
    }

    #[test]
    fn an_image_is_an_export() {
        let mut out = Vec::new();
        image(&mut out, "sha256:1", &["docker.io/library/a:b".to_owned()], Timestamp::UNIX_EPOCH)
            .unwrap();
        let line: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["vertexes"][0]["name"], "exporting to image");
        let ids: Vec<&Value> =
            line["statuses"].as_array().unwrap().iter().map(|status| &status["id"]).collect();
        assert_eq!(ids, ["writing image sha256:1", "naming to docker.io/library/a:b"]);
    }
}
