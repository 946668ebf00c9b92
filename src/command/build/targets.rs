//! What is built and what it is called: `--target STAGE[=NAME[,NAME]]` and `--tag`.

use engine::{Target, Times};
use oci::Reference;

use crate::report::Failure;

/// Reads the targets. Without one it is the last stage; a stage that was given several times has all the names.
pub(super) fn read(given: &[String], tags: &[String]) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    for value in given {
        let (stage, names) = match value.split_once('=') {
            Some((stage, names)) => (stage, names.split(',').map(str::trim).collect()),
            None => (value.as_str(), Vec::new()),
        };
        let wrong = |error| Failure::usage(format!("--target `{value}`: {error}"));
        let names = references(&names).map_err(wrong)?;
        let stage = Some(stage.to_owned()).filter(|stage| !stage.is_empty());
        match targets.iter_mut().find(|target| is_same(target.stage.as_deref(), stage.as_deref())) {
            Some(known) => known.tags.extend(names),
            None => targets.push(Target { stage, tags: names, times: Times::default() }),
        }
    }
    if targets.is_empty() {
        targets.push(Target { stage: None, tags: Vec::new(), times: Times::default() });
    }
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    match &mut targets[..] {
        [target] => drop(target.tags.splice(0..0, references(&tags)?)),
        _ if tags.is_empty() => {}
        several => {
            let first = in_words(&several[0]);
            return Err(Failure::usage(format!(
                "--tag/-t names one image, and there are {} targets: name each, as in `--target {first}={}`",
                several.len(),
                tags[0],
            )));
        }
    }
    Ok(targets)
}

/// Returns the target that an output is of, by what it says.
pub(super) fn find<'a>(targets: &'a [Target], named: &str) -> Result<&'a Target, Failure> {
    let found = targets.iter().find(|target| is_called(target, named));
    found.ok_or_else(|| {
        let names: Vec<&str> = targets.iter().map(in_words).collect();
        Failure::usage(format!(
            "--output is of the target `{named}`, which is not built; there is {}",
            names.join(", ")
        ))
    })
}

/// Whether an output that is of `named` is of this target.
pub(super) fn is_called(target: &Target, named: &str) -> bool {
    is_same(target.stage.as_deref(), Some(named))
}

/// What people call a target.
pub(super) fn in_words(target: &Target) -> &str {
    target.stage.as_deref().unwrap_or("the last stage")
}

/// Stages are the same in upper and lower case.
fn is_same(a: Option<&str>, b: Option<&str>) -> bool {
    a.map(str::to_lowercase) == b.map(str::to_lowercase)
}

fn references(names: &[&str]) -> Result<Vec<Reference>, oci::Error> {
    names.iter().map(|name| Reference::parse(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `stage: name name; stage: …`
    fn told(given: &[&str], tags: &[&str]) -> Result<String, Failure> {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let (given, tags): (Vec<String>, Vec<String>) = (owned(given), owned(tags));
        let one = |target: &Target| {
            let names: Vec<String> = target.tags.iter().map(Reference::familiar).collect();
            format!("{}: {}", in_words(target), names.join(" ")).trim_end().to_owned()
        };
        Ok(super::read(&given, &tags)?.iter().map(one).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn each_target_has_its_names() {
        for (given, tags, expected) in [
            (&[][..], &[][..], "the last stage:"),
            (&[], &["a", "b:1"], "the last stage: a b:1"),
            (&["x"], &["a"], "x: a"),
            (&["x=b"], &["a"], "x: a b"),
            (&["x=a:1,host:5000/b"], &[], "x: a:1 host:5000/b"),
            (&["x", "y"], &[], "x:; y:"),
            (&["x=a", "y=b", "X=c"], &[], "x: a c; y: b"),
            (&["", "y=b"], &[], "the last stage:; y: b"),
        ] {
            assert_eq!(told(given, tags).unwrap(), expected, "{given:?} {tags:?}");
        }
    }

    #[test]
    fn a_name_that_could_be_of_either_is_refused() {
        let refused = told(&["x", "y"], &["app"]).unwrap_err().to_string();
        assert!(refused.contains("`--target x=app`"), "{refused}");
        for wrong in ["x=", "x=A", "x=a,,b", "x=a=b"] {
            assert!(told(&[wrong], &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_output_finds_its_target() {
        let given = ["x".to_owned(), "y".to_owned()];
        let targets = read(&given, &[]).unwrap();
        assert_eq!(find(&targets, "Y").unwrap(), &targets[1]);
        let refused = find(&targets, "z").unwrap_err().to_string();
        assert!(refused.contains("`z`") && refused.contains("x, y"), "{refused}");
    }
}
