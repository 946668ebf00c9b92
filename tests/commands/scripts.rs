//! Lines of Docker's guides with the name replaced, as a shell runs them.

use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::base;
use crate::support::env::TestEnv;

/// A store with some images, and a shell that knows `kiln` and this store.
struct Guide {
    env: TestEnv,
}

impl Guide {
    fn new() -> Self {
        let env = TestEnv::new();
        std::fs::create_dir(env.path("bin")).unwrap();
        symlink(base::kiln(), env.path("bin/kiln")).unwrap();
        Self { env }
    }

    /// With `app:1`, and what was `app:1` before.
    fn with_images() -> Self {
        let guide = Self::new();
        for text in ["one", "two"] {
            guide.sh(&format!(
                "printf 'FROM busybox\\nLABEL a=b\\nENV X=1\\nEXPOSE 80\\nRUN echo {text} > /f\\n' | kiln build -q -t app:1 -",
            ));
        }
        guide
    }

    /// Runs a script; what it printed and how it ended.
    fn run(&self, script: &str) -> (String, bool) {
        let path = format!("{}:{}", self.env.str("bin"), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", script])
            .env("PATH", path)
            .env("KILN_ROOT", self.env.store())
            .current_dir(self.env.path(""))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        eprintln!("$ {script}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        (text, output.status.success())
    }

    /// Runs a script, which must succeed; what it printed.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        let (text, success) = self.run(script);
        assert!(success, "{script}");
        text
    }

    /// How many lines a script prints.
    #[track_caller]
    fn lines(&self, script: &str) -> usize {
        self.sh(script).lines().count()
    }
}

#[test]
fn images_without_a_name_are_removed() {
    let guide = Guide::with_images();
    assert_eq!(guide.lines("kiln images -qf dangling=true"), 1);
    let removed = guide.sh("kiln images -qf dangling=true | xargs kiln rmi");
    assert!(removed.starts_with("Deleted: sha256:"), "{removed}");
    assert_eq!(guide.lines("kiln images -q --filter dangling=true"), 0);
    // With nothing to remove as well, where the script says so.
    guide.sh("kiln images -qf dangling=true | xargs --no-run-if-empty kiln rmi");
}

#[test]
fn all_images_are_removed() {
    let guide = Guide::with_images();
    let removed = guide.sh("kiln rmi $(kiln images -q)");
    assert!(removed.contains("Untagged: app:1") && removed.contains("Untagged: busybox:latest"));
    assert_eq!(guide.sh("kiln images -aq"), "");
    // Several names of one image, with the pipe of the cheat sheets.
    let guide = Guide::with_images();
    guide.sh("kiln tag app:1 other:2");
    guide.sh("kiln rmi -f $(kiln images --format '{{.Repository}}:{{.Tag}} {{.ID}}' | grep -v busybox | awk '{print $2}' | sort -u)");
    assert_eq!(guide.sh("kiln images --format '{{.Repository}}'"), "busybox");
}

#[test]
fn containers_are_stopped_and_removed() {
    let guide = Guide::with_images();
    guide.sh("kiln run -d --name up --network none app:1 sleep 300");
    guide.sh("for n in 1 2 3; do kiln run --name end$n --network none app:1 true; done");
    assert_eq!(guide.lines("kiln ps -q"), 1);
    assert_eq!(guide.lines("kiln rm $(kiln ps -aqf status=exited)"), 3);
    assert_eq!(guide.lines("kiln stop -t 0 $(kiln ps -q)"), 1);
    assert_eq!(guide.lines("kiln ps -aq | xargs kiln rm"), 1);
    assert_eq!(guide.lines("kiln ps -a"), 1);
    guide.sh("kiln run --name aa --network none -v data:/data app:1 true");
    guide.sh("kiln run --name bb --network none -v /own app:1 true");
    let pruned = guide.sh("kiln container prune -f");
    assert!(pruned.starts_with("Deleted Containers:\n") && pruned.contains("\n\nTotal reclaimed"));
    assert_eq!(guide.sh("kiln volume ls -qf dangling=true | grep -c ."), "2");
    let asked = guide.sh("echo y | kiln volume prune 2>&1");
    assert!(asked.starts_with("WARNING! This will remove anonymous local volumes not used by at"));
    assert!(asked.contains("Deleted Volumes:\n") && asked.contains("Total reclaimed space: 0B"));
    assert_eq!(guide.sh("kiln volume ls -q"), "data");
    assert_eq!(guide.sh("echo n | kiln volume prune -a 2>/dev/null"), "Total reclaimed space: 0B");
    assert_eq!(guide.sh("kiln volume rm $(kiln volume ls -qf dangling=true)"), "data");
}

#[test]
fn archives_through_pipes() {
    let guide = Guide::with_images();
    guide.sh("kiln save app:1 busybox | gzip > x.tgz && kiln rmi -f $(kiln images -aq)");
    assert_eq!(guide.sh("kiln load < x.tgz"), "Loaded image: app:1\nLoaded image: busybox:latest");
    assert_eq!(guide.sh("kiln save app:1 | kiln load -q"), "Loaded image: app:1");
    assert_eq!(
        guide.sh("kiln save -o a.tar app && kiln load --input a.tar"),
        "Loaded image: app:1"
    );
    assert_eq!(guide.sh("kiln run --rm --network none app:1 cat /f"), "two");
}

#[test]
fn templates_of_the_guides() {
    let guide = Guide::with_images();
    guide.sh("kiln create --name cc -p 8080:80 -v /etc:/in -l own=label app:1 sleep 9");
    for (script, expected) in [
        ("kiln inspect -f '{{.Name}}' cc", "/cc"),
        ("kiln inspect --format='{{.Config.Image}}' cc", "app:1"),
        ("kiln inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' cc", ""),
        (
            "kiln inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' cc",
            "bridge",
        ),
        (
            "kiln inspect -f '{{range $p, $c := .HostConfig.PortBindings}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}' cc",
            "80/tcp -> 8080",
        ),
        ("kiln inspect -f '{{range .Mounts}}{{.Source}}:{{.Destination}}{{end}}' cc", "/etc:/in"),
        ("kiln inspect -f '{{if ne 0.0 .State.ExitCode}}{{.Name}}{{end}}' $(kiln ps -aq)", ""),
        ("kiln inspect -f '{{if eq .State.ExitCode 0}}{{.Name}}{{end}}' $(kiln ps -aq)", "/cc"),
        ("kiln inspect -f '{{index .Config.Labels \"a\"}}' app:1", "b"),
        ("kiln inspect --format '{{join .Config.Env \" \"}}' app:1 | tr ' ' '\\n' | grep X", "X=1"),
        (
            "kiln inspect --format='{{json .Config}}' app:1 | python3 -m json.tool | grep -A1 Labels",
            "    \"Labels\": {\n        \"a\": \"b\"",
        ),
        ("kiln image inspect app:1 --format '{{len .RootFS.Layers}}'", "2"),
        ("kiln ps -a --format '{{.Names}}: {{.Label \"own\"}} {{.Label \"a\"}}'", "cc: label b"),
        (
            "kiln ps -a --format 'table {{.Names}}\\t{{.Label \"own\"}}'",
            "NAMES     own\ncc        label",
        ),
        (
            "kiln history --no-trunc --format '{{.Size}}\\t{{.CreatedBy}}' app:1 | head -n 2",
            "4B\tRUN /bin/sh -c echo two > /f # buildkit\n0B\tEXPOSE [80/tcp]",
        ),
        (
            "kiln images --format 'table {{.Repository}}\\t{{.Tag}}' app",
            "REPOSITORY   TAG\napp          1",
        ),
        (
            "kiln images --format '{{json .}}' app | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"Tag\"])'",
            "1",
        ),
        ("kiln images --filter=reference='a*:*' --format '{{.Repository}}:{{.Tag}}'", "app:1"),
        ("kiln images --filter label=a=b -q | wc -l | tr -d ' '", "2"),
        (
            "kiln images | awk 'NR > 1 && $1 != \"<none>\" {print $1 \":\" $2}' | sort",
            "app:1\nbusybox:latest",
        ),
    ] {
        assert_eq!(guide.sh(script), expected.trim_end(), "{script}");
    }
}

#[test]
fn pruning_by_age_and_what_takes_room() {
    let guide = Guide::with_images();
    assert_eq!(guide.sh("kiln image prune -af --filter until=24h"), "Total reclaimed space: 0B");
    assert_eq!(guide.lines("kiln images -q"), 3);
    let usage = guide.sh("kiln system df -v");
    for heading in ["Images space usage:", "Containers space usage:", "Local Volumes space usage:"]
    {
        assert!(usage.contains(heading), "{usage}");
    }
    guide.sh("kiln system prune -af --volumes");
    assert_eq!((guide.sh("kiln images -aq"), guide.sh("kiln ps -aq")), Default::default());
}

#[test]
fn values_for_containers() {
    let guide = Guide::with_images();
    guide.sh("printf 'A=1\\n# no\\n\\nB=two words\\nHERE\\n' > env.list");
    assert_eq!(
        guide.sh("HERE=h kiln run --rm --network none --env-file env.list app:1 env | grep -E '^(A|B|HERE|X)=' | sort"),
        "A=1\nB=two words\nHERE=h\nX=1"
    );
    assert_eq!(guide.sh("echo in | kiln run --rm -i --network none app:1 cat"), "in");
    let (text, _) = guide.run("kiln run --rm --network none app:1 sh -c 'exit 7'; echo $?");
    assert_eq!(text, "7");
}
