//! A very small interpreter of Dockerfiles that only copy, to replay recorded results.

use serde_json::Value;

use super::*;

/// Runs a case if this crate alone can; says whether it did.
pub(super) fn run(name: &str, case: &Value, recorded: &Value) -> bool {
    let Some(text) =
        case["files"]["Dockerfile"].as_str().map(str::to_owned).or_else(|| lines(case))
    else {
        return false;
    };
    let keys = ["steps", "build_contexts", "target", "http", "build_args", "outside", "dockerfile"];
    let odd = [
        "RUN", "ARG", "ENV", "<<", "http", "--from", "--link", "\\\n", "\"", ".tar", "--unpack",
        "ONBUILD", "$",
    ];
    let plain = ["FROM", "COPY", "ADD", "WORKDIR", "#", "CMD", "MAINTAINER"];
    let simple =
        text.lines().all(|line| line.is_empty() || plain.iter().any(|word| line.starts_with(word)));
    let stages = text.lines().filter(|line| line.starts_with("FROM")).count();
    if keys.iter().any(|key| !case[key].is_null() && case[key] != Value::Array(vec![]))
        || odd.iter().any(|word| text.contains(word))
        || !simple
        || stages != 1
        || !(text.contains("COPY") || text.contains("ADD"))
    {
        return false;
    }
    let (context, root) = (TempDir::new(), TempDir::new());
    for (path, file) in case["files"].as_object().unwrap() {
        if !make(&context, path, file) {
            return false;
        }
    }
    fix_modes(&context, case);
    let busybox = !text.contains("FROM scratch");
    if busybox {
        root.dir("tmp").mode("tmp", 0o1777).write("etc/passwd", PASSWD).write("etc/group", GROUP);
    }
    let result = build(&text, &context, &root);
    let fails = recorded["result"] != "ok";
    let why = recorded["stderr_tail"].as_str().unwrap_or_default();
    if why.contains("parse error") || why.contains("source can't be") || why.contains("flag") {
        return false;
    }
    if result.is_err() && case["accept_fail"] == true {
        return true;
    }
    assert_eq!(result.is_err(), fails, "{name}: {result:?}");
    if fails {
        for word in case["error_contains"].as_array().into_iter().flatten() {
            let error = result.as_ref().unwrap_err().to_lowercase();
            assert!(error.contains(&word.as_str().unwrap().to_lowercase()), "{name}: {error}");
        }
    } else {
        compare(name, &root, recorded, busybox);
    }
    true
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n\
    nobody:x:65534:65534::/home:/bin/false\n";
const GROUP: &str = "root:x:0:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n";

fn lines(case: &Value) -> Option<String> {
    let lines = case["files"]["Dockerfile"].as_array()?;
    Some(lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n"))
}

fn build(text: &str, context: &TempDir, root: &TempDir) -> Result<(), String> {
    let mut workdir = PathBuf::from("/");
    let ignore = std::fs::read(context.path().join(".dockerignore"));
    if let Ok(file) = ignore {
        Patterns::parse(&file).map_err(|error| error.to_string())?;
    }
    let copy = Copy::from(context, root);
    for line in text.lines() {
        if let Some(dir) = line.strip_prefix("WORKDIR ") {
            workdir = workdir.join(dir.trim());
            let dir = workdir.to_str().unwrap();
            root.root().create_dir_all(dir, 0o755, 0, 0, None).map_err(|e| e.to_string())?;
        } else if let Some(rest) = line.strip_prefix("COPY ").or(line.strip_prefix("ADD ")) {
            let rest = rest.replace('\'', "");
            let mut words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            let dest = words.pop().unwrap();
            let joined = workdir.join(&dest).to_str().unwrap().to_owned();
            let joined = if dest == "." { joined + "/" } else { joined };
            copy.run_words(words, &joined).map_err(|error| format!("{error} (COPY)"))?;
        }
    }
    Ok(())
}

fn make(context: &TempDir, path: &str, file: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::Array(lines) => Some(
            lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect::<String>(),
        ),
        value => value.as_str().map(str::to_owned),
    };
    if path.ends_with('/') || file["type"] == "dir" {
        context.dir(path);
    } else if let Some(text) = text(file).or_else(|| text(&file["content"])) {
        context.write(path, text);
    } else if let Some(target) = file["symlink"].as_str() {
        context.link(path, target);
    } else if let Some(target) = file["hardlink"].as_str() {
        let new = context.path().join(path);
        std::fs::create_dir_all(new.parent().unwrap()).unwrap();
        std::fs::hard_link(context.path().join(target), new).unwrap();
    } else {
        return false;
    }
    true
}

fn fix_modes(context: &TempDir, case: &Value) {
    for (path, file) in case["files"].as_object().unwrap() {
        if let (Some(uid), Some(gid)) = (file["uid"].as_u64(), file["gid"].as_u64()) {
            context.owner(path, uid as u32, gid as u32);
        }
        if let Some(mode) = file["mode"].as_str() {
            context.mode(path, u32::from_str_radix(mode, 8).unwrap());
        }
    }
}

fn compare(name: &str, root: &TempDir, recorded: &Value, busybox: bool) {
    let mut expected: Vec<String> = recorded["tree"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, entry)| {
            let mode = entry["mode"].as_str().unwrap_or("777").trim_start_matches('0');
            let mode = if mode.is_empty() { "0" } else { mode };
            let rest = match entry["t"].as_str().unwrap() {
                "l" => format!(" -> {}", entry["link"].as_str().unwrap()),
                "f" => format!(" {} bytes", entry["size"]),
                _ => String::new(),
            };
            let kind = entry["t"].as_str().unwrap();
            format!("{kind} {mode} {}:{} {path}{rest}", entry["uid"], entry["gid"])
        })
        .collect();
    let mut actual: Vec<String> = root
        .listing()
        .into_iter()
        .map(|line| match line.strip_prefix("f ") {
            Some(file) => {
                let path = file.splitn(3, ' ').nth(2).unwrap();
                sized(root, &line, path)
            }
            None => line,
        })
        .collect();
    if busybox {
        let base = ["/tmp", "/etc", "/etc/passwd", "/etc/group"];
        actual.retain(|line| {
            !base.iter().any(|path| {
                line.contains(&format!(" {path} ")) || line.ends_with(&format!(" {path}"))
            })
        });
    }
    expected.sort();
    actual.sort();
    assert_eq!(actual, expected, "{name}");
}

/// Replaces a file's text in a listing's line by its size.
fn sized(root: &TempDir, line: &str, rest: &str) -> String {
    let ends = rest.match_indices(' ').map(|(end, _)| end).chain([rest.len()]);
    for end in ends {
        let path = &rest[..end];
        if let Ok(metadata) = root.path().join(&path[1..]).symlink_metadata()
            && metadata.is_file()
        {
            let head = &line[..line.len() - rest.len()];
            return format!("{head}{path} {} bytes", metadata.len());
        }
    }
    line.to_owned()
}
