//! ADD of git repositories, and contexts from there.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::{fs, path::Path};

use crate::support::archive::Tree;
use crate::support::context::Context;
use crate::support::env::TestEnv;
use crate::support::repository::{GitServer, Repository};
use crate::support::requires;
use crate::support::web::{Page, Site};

/// A store, and a server with the repository `r.git`: a tagged commit, and a later one on two branches.
struct Setup {
    server: GitServer,
    repository: Repository,
    first: String,
    second: String,
    env: TestEnv,
}

impl Setup {
    /// `None`, said on stderr, where there is no git.
    fn new() -> Option<Self> {
        let env = TestEnv::empty();
        let server = GitServer::start(&env.path("git"))?;
        let repository = Repository::create(env.path("git/r.git"));
        repository.write("f", "one\n").write("d/e/x", "x\n").write("d/.hidden", "h\n");
        repository.write("run", "#!/bin/sh\n").write("Dockerfile", "FROM scratch\nCOPY . /\n");
        fs::set_permissions(repository.path().join("run"), fs::Permissions::from_mode(0o700))
            .unwrap();
        symlink("f", repository.path().join("link")).unwrap();
        let first = repository.commit("first");
        repository.git(&["tag", "light"]);
        repository.git(&["tag", "-a", "-m", "a tag", "v1"]);
        repository.write("f", "two\n");
        let second = repository.commit("second");
        repository.git(&["branch", "feature/x"]);
        Some(Self { server, repository, first, second, env })
    }

    fn url(&self) -> String {
        format!("{}/r.git", self.server.url)
    }

    fn context(&self, lines: &str) -> Context {
        self.env.context(&format!("FROM scratch\nARG R={}\n{lines}\n", self.url()))
    }

    fn tree(&self, lines: &str) -> Tree {
        self.env.tree(&self.context(lines), &[])
    }
}

#[test]
fn references_of_every_kind() {
    let Some(setup) = Setup::new() else { return };
    let (first, second) = (&setup.first, &setup.second);
    for (fragment, content) in [
        ("", "two\n"),
        ("#main", "two\n"),
        ("#feature/x", "two\n"),
        ("#light", "one\n"),
        ("#v1", "one\n"),
        ("#refs/tags/v1", "one\n"),
        ("#HEAD", "two\n"),
        ("?tag=v1", "one\n"),
        ("?branch=main", "two\n"),
        (&format!("#{first}"), "one\n"),
        (&format!("?commit={first}"), "one\n"),
        (&format!("?checksum={}#main", &second[..9]), "two\n"),
        (&format!("?fetch-by-commit&checksum={first}#main"), "one\n"),
    ] {
        let tree = setup.tree(&format!("ADD $R{fragment} /r"));
        assert_eq!(String::from_utf8_lossy(&tree.entry("r/f").content), content, "{fragment}");
    }
}

#[test]
fn files_have_the_modes_that_git_means() {
    let Some(setup) = Setup::new() else { return };
    let tree = setup.tree("ADD $R /r\nADD --chown=7:8 --chmod=600 --exclude=d $R#main /o/");
    assert_eq!(tree.owner("r/f"), "644 0:0");
    assert_eq!(tree.owner("r/run"), "755 0:0");
    assert_eq!(tree.owner("r/d"), "755 0:0");
    assert_eq!(tree.entry("r/link").link.as_deref(), Some("f"));
    assert!(tree.has("r/d/.hidden") && !tree.has("r/.git"));
    assert_eq!(tree.owner("o/f"), "600 7:8");
    assert!(!tree.has("o/d"));
}

#[test]
fn a_directory_of_a_repository() {
    let Some(setup) = Setup::new() else { return };
    let tree = setup.tree("ADD $R#main:d /a\nADD $R?subdir=d/e&ref=v1 /b\nADD $R#:./d/../d/e/ /c");
    assert_eq!(tree.names("a"), [".hidden", "e", "e/x"]);
    assert_eq!((tree.names("b"), tree.names("c")), (vec!["x"], vec!["x"]));
}

#[test]
fn git_directories_are_kept_if_asked_for() {
    let Some(setup) = Setup::new() else { return };
    let tree = setup
        .tree("ADD --keep-git-dir $R#v1 /a\nADD $R?keep-git-dir=1 /b\nADD --keep-git-dir $R#:d /c");
    let config = String::from_utf8_lossy(&tree.entry("a/.git/config").content).into_owned();
    assert!(config.contains(&setup.url()), "{config}");
    assert_eq!(tree.entry("a/.git/HEAD").content, format!("{}\n", setup.first).as_bytes());
    assert!(tree.has("b/.git/HEAD") && !tree.has("c/.git") && tree.has("c/e/x"));
    let context = setup.context("ADD --keep-git-dir=false $R?keep-git-dir=true /x");
    setup.env.build_fails(&context, &[]).says(&["inconsistent keep-git-dir configuration"]);
}

#[test]
fn a_checksum_has_to_fit() {
    let Some(setup) = Setup::new() else { return };
    let (first, second) = (&setup.first, &setup.second);
    setup.tree(&format!("ADD --checksum={first} $R#v1 /a\nADD --checksum={second} $R /b"));
    let tag = setup.repository.git(&["rev-parse", "v1"]);
    setup.tree(&format!("ADD --checksum={tag} $R#v1 /a"));
    let context = setup.context(&format!("ADD --checksum={second} $R#v1 /a"));
    setup.env.build_fails(&context, &[]).says(&["expected checksum to match", first, second]);
    let context = setup.context("ADD --checksum=foobar $R#v1 /a");
    setup.env.build_fails(&context, &[]).says(&["invalid checksum", "expected hex commit hash"]);
}

#[test]
fn commits_are_remembered() {
    let Some(setup) = Setup::new() else { return };
    let context = setup.context("ADD $R#main /r\nADD $R#main:d /d");
    setup.env.build(&context, &[]).has_cached(0);
    setup.env.build(&context, &[]).has_cached(2);

    // Another commit with the same directory.
    setup.repository.write("f", "three\n");
    let third = setup.repository.commit("third");
    setup.env.build(&context, &[]).has_cached(0);
    let only_directory = setup.context("ADD $R#main:d /d");
    setup.env.build(&only_directory, &[]).has_cached(0);
    setup.repository.write("f", "four\n").commit("fourth");
    setup.env.build(&only_directory, &[]).has_cached(1);

    // A commit that is known needs no server.
    let by_id = setup.context(&format!("ADD $R#{third} /r"));
    setup.env.build(&by_id, &[]);
    drop(setup.server);
    setup.env.build(&by_id, &["--no-cache"]).has_cached(0);
    setup.env.build_fails_again(&context);
}

impl TestEnv {
    /// Tries to build while an image of that name is there already.
    fn build_fails_again(&self, context: &Context) {
        self.building(context, &[]).run().fails(1).says(&["r.git"]);
    }
}

#[test]
fn what_is_not_in_the_repository_is_told() {
    let Some(setup) = Setup::new() else { return };
    for (source, part) in [
        ("$R#nope", "does not contain ref nope"),
        ("$R#main:nope", "does not contain the directory nope"),
        ("$R#main:f", "does not contain the directory f"),
        ("$R#aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "r.git"),
        ("${R}x", "r.gitx"),
        ("$R?ref=a#b", "ref conflicts"),
        ("$R?colour=red", "unexpected query"),
    ] {
        let context = setup.context(&format!("ADD {source} /x"));
        setup.env.build_fails(&context, &[]).says(&[part]);
    }
}

#[test]
fn nothing_of_an_address_is_an_option() {
    let Some(setup) = Setup::new() else { return };
    let canary = setup.env.path("canary");
    let touch = format!("touch {}", canary.display());
    for source in [
        format!("$R#--upload-pack={touch}"),
        format!("$R#-c=core.sshCommand={touch}"),
        format!("git@-oProxyCommand={touch}:x"),
        format!("ssh://-oProxyCommand={touch}/x"),
        format!("$R#HEAD:--output={}", canary.display()),
        "$R#main:d/../../..".to_owned(),
    ] {
        let context = setup.context(&format!("ADD [\"{source}\", \"/x\"]"));
        setup.env.build_fails(&context, &[]);
        let address = source.replace("$R", &setup.url());
        setup.env.kiln(["build", &address]).run().fails(1);
    }
    for address in
        [format!("ext::sh -c {touch}"), format!("file://{}", setup.repository.path().display())]
    {
        setup.env.kiln(["build", &address]).run().fails(1);
    }
    assert!(!canary.exists());
}

#[test]
fn links_of_a_repository_lead_nowhere() {
    let Some(setup) = Setup::new() else { return };
    symlink("/", setup.repository.path().join("proj")).unwrap();
    symlink("d", setup.repository.path().join("inner")).unwrap();
    setup.repository.commit("links");
    for directory in ["proj", "proj/etc", "inner", "inner/e"] {
        let context = setup.context(&format!("ADD $R#main:{directory} /x"));
        setup.env.build_fails(&context, &[]).says(&["does not contain the directory"]);
    }
}

#[test]
fn submodules_come_from_servers_only() {
    let Some(setup) = Setup::new() else { return };
    let inner = Repository::create(setup.env.path("git/inner.git"));
    inner.write("i", "inner\n").commit("inner");
    let modules = |url: &str| format!("[submodule \"s\"]\n\tpath = s\n\turl = {url}\n");
    let add = |url: &str| {
        setup.repository.write(".gitmodules", &modules(url));
        setup.repository.git(&["add", ".gitmodules"]);
        let id = inner.git(&["rev-parse", "HEAD"]);
        setup.repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{id},s")]);
        setup.repository.git(&["commit", "--quiet", "-m", url]);
    };
    add("../inner.git");
    let tree = setup.tree("ADD $R /a\nADD $R?submodules=false /b");
    assert_eq!(tree.names("a/s"), ["i"]);
    assert!(tree.names("b/s").is_empty());

    for hostile in [
        inner.path().to_str().unwrap(),
        &format!("file://{}", inner.path().display()),
        "ext::sh -c id",
    ] {
        add(hostile);
        let context = setup.context("ADD $R /a");
        setup.env.build_fails(&context, &[]).says(&["submodules"]);
    }
}

/// CVE-2018-11235 and its kin: a submodule whose name or path leads elsewhere, to where hooks would be found.
#[test]
fn submodules_stay_where_they_are_put() {
    let Some(setup) = Setup::new() else { return };
    let canary = setup.env.path("canary");
    let inner = Repository::create(setup.env.path("git/inner.git"));
    let hook = format!("#!/bin/sh\ntouch {}\n", canary.display());
    for name in ["post-checkout", "hooks/post-checkout"] {
        inner.write(name, &hook);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(inner.path().join(name), mode).unwrap();
    }
    inner.write("i", "inner\n").commit("inner");
    let id = inner.git(&["rev-parse", "HEAD"]);
    // A link at the path of a submodule, or on the way to it.
    symlink(".git", setup.repository.path().join("way")).unwrap();
    setup.repository.commit("a link");
    for (name, path) in [
        ("../../../up", "s"),
        ("../hooks", "s"),
        ("s/../../../../up", "s"),
        ("/absolute", "s"),
        ("", "s"),
        ("s", "../s"),
        ("s", "way/hooks"),
        ("s", "WAY/hooks"),
        ("s", ".git/hooks"),
        ("s", "--upload-pack=touch"),
    ] {
        let modules = format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = ../inner.git\n");
        setup.repository.write(".gitmodules", &modules);
        setup.repository.git(&["add", ".gitmodules"]);
        // git does not put the worst ones into an index; then what it says of them is in the file alone.
        let entry = format!("160000,{id},{path}");
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(setup.repository.path())
            .args(["update-index", "--add", "--cacheinfo", &entry])
            .output();
        let is_indexed = output.unwrap().status.success();
        setup.repository.git(&["commit", "--quiet", "-m", "a submodule"]);
        let context = setup.context("ADD $R /a");
        let output = setup.env.building(&context, &[]).run();
        assert!(output.status.code().is_some_and(|code| code < 2), "{name} {path}: {output}");
        assert!(!canary.exists(), "{name} {path}: {output}");
        for place in ["up", "git/up", "store/up", "absolute"] {
            assert!(!setup.env.path(place).exists(), "{name} {path}: {place}");
        }
        assert!(!Path::new("/absolute").exists() && setup.env.ownerless().is_empty());
        if is_indexed {
            setup.repository.git(&["rm", "--quiet", "--cached", "--", path]);
        }
    }
}

#[test]
fn the_hosts_configuration_means_nothing() {
    let Some(setup) = Setup::new() else { return };
    let canary = setup.env.path("canary");
    let home = setup.env.path("home");
    fs::create_dir_all(home.join("hooks")).unwrap();
    let hook = home.join("hooks/post-checkout");
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", canary.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[core]\n\thooksPath = {0}/hooks\n\tfsmonitor = touch {1}\n[filter \"x\"]\n\tsmudge = touch {1}\n[url \"file:///\"]\n\tinsteadOf = git://\n",
        home.display(),
        canary.display()
    );
    fs::write(home.join(".gitconfig"), config).unwrap();
    setup.repository.write(".gitattributes", "* filter=x\n").commit("attributes");
    let context = setup.context("ADD $R /r");
    let kiln = setup.env.building(&context, &[]).env("HOME", home.to_str().unwrap());
    let kiln = kiln.env("GIT_DIR", "/nonexistent").env("GIT_CONFIG_COUNT", "x");
    kiln.env("GIT_SSH_COMMAND", "false").run().ok();
    assert!(!canary.exists());
}

/// A server that has files only, and knows who may read them.
fn dumb(env: &TestEnv, authorization: Option<&str>) -> Option<(Site, Repository)> {
    if !requires::program("git") {
        return None;
    }
    let repository = Repository::create(env.path("dumb"));
    repository.write("f", "one\n").commit("first");
    repository.write("f", "two\n").commit("second");
    let web = Site::start();
    // The address has to end in `.git`.
    web.files(repository.path().to_owned(), authorization);
    Some((web, repository))
}

#[test]
fn servers_without_depth_do() {
    let env = TestEnv::empty();
    let Some((web, repository)) = dumb(&env, None) else { return };
    let first = repository.git(&["rev-parse", "HEAD~1"]);
    let context = env.context(&format!(
        "FROM scratch\nADD {0}/.git#main /a\nADD {0}/.git#{first} /b\n",
        web.url
    ));
    let tree = env.tree(&context, &[]);
    assert_eq!(
        (&tree.entry("a/f").content[..], &tree.entry("b/f").content[..]),
        (&b"two\n"[..], &b"one\n"[..])
    );
}

#[test]
fn a_hostile_head_is_no_option() {
    let env = TestEnv::empty();
    let Some((web, repository)) = dumb(&env, None) else { return };
    let canary = env.path("canary");
    let head = format!("ref: refs/heads/--upload-pack=touch {}\n", canary.display());
    fs::write(repository.path().join(".git/HEAD"), head).unwrap();
    env.build_fails(&env.context(&format!("FROM scratch\nADD {}/.git /a\n", web.url)), &[]);
    assert!(!canary.exists());
}

#[test]
fn tokens_reach_the_server_and_nobody_else() {
    let env = TestEnv::empty();
    // `x-access-token:s3cret` and `u:s3cret`.
    for (authorization, user, secrets) in [
        ("Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0", "", &["--secret=id=GIT_AUTH_TOKEN,env=TOKEN"][..]),
        ("Basic dTpzM2NyZXQ=", "u:s3cret@", &[]),
        ("Other s3cret", "", &["--secret=id=GIT_AUTH_HEADER.HOST,env=HEADER"]),
    ] {
        let Some((web, _repository)) = dumb(&env, Some(authorization)) else { return };
        let context =
            env.context(&format!("FROM scratch\nADD http://{user}{}/.git /a\n", web.host()));
        let secrets: Vec<String> = secrets.iter().map(|s| s.replace("HOST", web.host())).collect();
        let args: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let kiln =
            env.building(&context, &args).env("TOKEN", "s3cret").env("HEADER", "Other s3cret");
        kiln.run().ok();
        fs::remove_dir_all(env.path("dumb")).unwrap();

        let wrong =
            env.context(&format!("FROM scratch\nADD http://w:wr0ng@{}/x.git /a\n", web.host()));
        let output = env.building(&wrong, &[]).run().fails(1);
        let told = output.stderr.lines().filter(|line| line.contains("caused by"));
        assert!(
            told.clone().count() > 0 && told.clone().all(|line| !line.contains("wr0ng")),
            "{output}"
        );
    }
}

/// git by itself takes its headers along.
#[test]
fn a_redirect_takes_no_token_along() {
    let env = TestEnv::empty();
    let Some((elsewhere, _repository)) = dumb(&env, None) else { return };
    let site = Site::start();
    // Another name of the same machine is another host.
    let target = elsewhere.url.replace("127.0.0.1", "localhost");
    site.page(
        "/.git/info/refs",
        Page::redirect(&format!("{target}/.git/info/refs?service=git-upload-pack")),
    );
    for (user, args) in [
        ("u:s3cret@", &[][..]),
        ("", &["--secret=id=GIT_AUTH_TOKEN,env=TOKEN"]),
        ("", &["--secret=id=GIT_AUTH_HEADER,env=TOKEN"]),
    ] {
        let context =
            env.context(&format!("FROM scratch\nADD http://{user}{}/.git /a\n", site.host()));
        let output = env.building(&context, args).env("TOKEN", "s3cret").run().fails(1);
        output.says(&["a redirect is not followed with credentials"]);
        assert!(site.requests().iter().any(|it| it.headers.contains_key("authorization")));
        assert_eq!(elsewhere.requests().len(), 0, "{user} {args:?}");
    }
    // Who has nothing to lose goes along.
    let context = env.context(&format!("FROM scratch\nADD http://{}/.git /a\n", site.host()));
    assert!(env.tree(&context, &[]).has("a/f"));
}

fn built_tar(env: &TestEnv, args: &[&str]) -> Tree {
    let dest = env.path("context.tar");
    let output = format!("--output=type=tar,dest={}", dest.display());
    env.kiln(["build", "--progress=plain", &output]).args(args).run().ok();
    Tree::of_tar(&fs::read(Path::new(&dest)).unwrap())
}

#[test]
fn a_context_can_be_a_repository() {
    let Some(setup) = Setup::new() else { return };
    setup
        .repository
        .write(".dockerignore", "f\n")
        .write("sub/Dockerfile", "FROM scratch\nCOPY x /only\n");
    setup
        .repository
        .write("sub/x", "x")
        .write("other", "FROM scratch\nCOPY run /other\n")
        .commit("context");
    let url = setup.url();
    let tree = built_tar(&setup.env, &[&url]);
    assert_eq!(tree.owner("f"), "644 0:0");
    assert!(!tree.has(".git"));
    assert!(built_tar(&setup.env, &[&format!("{url}?keep-git-dir=1")]).has(".git/HEAD"));
    assert!(
        built_tar(&setup.env, &["--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", &url])
            .has(".git/HEAD")
    );
    assert_eq!(built_tar(&setup.env, &[&format!("{url}#main:sub")]).0.len(), 1);
    assert!(built_tar(&setup.env, &["-f", "other", &url]).has("other"));
    setup.env.ok(&["build", "--progress=plain", &format!("{url}#main:sub")]).has_cached(1);
    setup.env.kiln(["build", &format!("{url}#main:d")]).run().fails(1).says(&["Dockerfile"]);
}

#[test]
fn a_named_context_can_be_a_repository() {
    let Some(setup) = Setup::new() else { return };
    let context = setup.env.context("FROM repo\nCOPY --from=repo d/e /copied\n");
    let tree = setup.env.tree(&context, &[&format!("--build-context=repo={}#v1", setup.url())]);
    assert_eq!(tree.entry("f").content, b"one\n");
    assert_eq!(tree.names("copied"), ["x"]);
}

#[test]
fn a_repository_larger_than_allowed_leaves_nothing() {
    let Some(setup) = Setup::new() else { return };
    // A commit that is small to send, and large to check out.
    for number in 0..40 {
        setup.repository.write(&format!("large/{number}"), &"x".repeat(1_000_000));
    }
    setup.repository.commit("large");
    let context = setup.context("ADD $R /r/");
    let output = setup.env.build_fails(&context, &["--fetch-limit=10m"]);
    output.says(&["Dockerfile:3", "/r.git`: it has more than 10485760 bytes", "--fetch-limit"]);
    assert!(setup.env.size_of_store() < 1_000_000, "what was written was removed");
    let output = setup.env.kiln(["build", "--fetch-limit=10m", &setup.url()]).run().fails(1);
    output.says(&["it has more than 10485760 bytes"]);
    setup.env.build(&context, &["--fetch-limit=100m"]);
}
