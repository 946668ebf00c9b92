//! `kiln search`: a registry that answers in the form of Docker Hub's search, one that only lists what it has, and tags.

use serde_json::{Value, json};

use crate::support::env::TestEnv;
use crate::support::registry::Registry;
use crate::support::web::{Page, Site};

/// What the Hub's search answers, as far as it is known here.
fn hub() -> Site {
    let site = Site::start();
    let found = |name: &str, description: &str, stars: i64, official: bool, automated: bool| {
        json!({ "name": name, "description": description, "star_count": stars, "is_official": official,
            "is_automated": automated, "is_trusted": false })
    };
    let long = "High performance\r\nreverse proxy \u{1b}[31m server with a rather long description";
    let results = [
        found("team/nginx", "", -1, false, false),
        found("bitnami/nginx", "Bitnami container image for NGINX", 195, false, true),
        found("nginx", long, 20000, true, false),
        found("Not/A/Name", "", 7, false, false),
    ];
    let body = json!({ "num_pages": 1, "num_results": 4, "page": 1, "page_size": 25, "query": "nginx",
        "results": results });
    site.page("/v1/search", Page::new(body.to_string()).header("Content-Type", "application/json"));
    site
}

fn search(env: &TestEnv, args: &[&str]) -> String {
    String::from_utf8(env.ok(&[&["search"], args].concat()).stdout).unwrap()
}

/// The first columns of a table without its heading.
fn names(table: &str) -> Vec<&str> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn results_are_listed_as_docker_does() {
    let (env, site) = (TestEnv::empty(), hub());
    let (host, term) = (site.host().to_owned(), format!("{}/nginx", site.host()));
    let table = search(&env, &[&term]);
    let lines: Vec<_> = table.lines().collect();
    let head: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(head, ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]);
    assert_eq!(lines.len(), 4, "what is no name is left out: {table}");
    assert!(lines[1].starts_with(&format!("{host}/nginx ")) && lines[1].ends_with("[OK]"));
    assert!(lines[1].contains("High performance") && lines[1].contains("…   20000 "), "{table}");
    assert!(lines[2].starts_with(&format!("{host}/bitnami/nginx ")));
    assert!(lines[3].trim_end().ends_with('0'), "nobody counts below nothing: {table}");
    assert!(!table.contains('\u{1b}'));
    let asked = site.requests();
    assert_eq!(asked[0].path, "/v1/search?q=nginx&n=25");
    assert_eq!(asked.len(), 1);

    let whole = search(&env, &["--no-trunc", "--format", "{{.Description}}", &term]);
    assert!(whole.lines().next().unwrap().ends_with("a rather long description"), "{whole}");
    let given = "{{.Name}}|{{.StarCount}}|{{.IsOfficial}}|{{.IsAutomated}}";
    let second = search(&env, &["--format", given, &term]);
    assert_eq!(second.lines().nth(1), Some(&*format!("{host}/bitnami/nginx|195||[OK]")));
    let first = search(&env, &["--format", "json", "--limit", "1", &term]);
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["IsOfficial"], &first["StarCount"]), (&json!("true"), &json!("20000")));
}

#[test]
fn results_are_chosen_by_filters() {
    let (env, site) = (TestEnv::empty(), hub());
    let term = format!("{}/nginx", site.host());
    let (official, automated) =
        (format!("{}/nginx", site.host()), format!("{}/bitnami/nginx", site.host()));
    for (filters, expected) in [
        (&["--filter", "stars=100"] as &[&str], &[&official, &automated] as &[&String]),
        (&["-f", "is-official=true"], &[&official]),
        (&["-f", "is-official=false", "-f", "stars=1"], &[&automated]),
        (&["-f", "is-automated=true"], &[&automated]),
        (&["-f", "is-automated=true", "-f", "is-official=true"], &[]),
        (&["--limit", "2"], &[&official, &automated]),
    ] {
        let table = search(&env, &[filters, &[&term]].concat());
        assert_eq!(names(&table), expected, "{filters:?}");
    }
    for wrong in [
        &["search", "-f", "stars=many", &term] as &[&str],
        &["search", "-f", "colour=red", &term],
        &["search", "--limit", "0", &term],
        &["search", "--limit", "101", "nginx"],
        &["search", "--list-tags", "name:1"],
        &["search"],
    ] {
        env.kiln(wrong).run().fails(2);
    }
}

#[test]
fn a_registry_without_a_search_lists_what_it_has() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start(&env.path("")) else { return };
    for name in ["team/app:1", "team/app:2", "team/other:1", "apple:1"] {
        let name = registry.at(name);
        env.ok(&["tag", "busybox", &name]);
        env.ok(&["push", "-q", &name]);
    }
    let at = |name: &str| registry.at(name);
    assert_eq!(names(&search(&env, &[&at("App")])), [at("apple"), at("team/app")]);
    assert_eq!(names(&search(&env, &[&at("team/")])), [at("team/app"), at("team/other")]);
    assert_eq!(names(&search(&env, &[&at("")])).len(), 3);
    assert_eq!(names(&search(&env, &["--limit", "2", &registry.host])).len(), 2);
    assert_eq!(search(&env, &["--format", "{{.Name}}", &at("nothing")]), "");

    let tags = search(&env, &["--list-tags", &at("team/app")]);
    let head: Vec<_> = tags.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "TAG"]);
    let listed = search(&env, &["--list-tags", "--format", "{{.Name}}:{{.Tag}}", &at("team/app")]);
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, [at("team/app:1"), at("team/app:2")]);
    let absent = env.kiln(["search", "--list-tags", &at("team/none")]).run().fails(1);
    absent.says(&["team/none", "does not exist"]);
}

#[test]
fn long_lists_are_followed_to_their_end() {
    let (env, site) = (TestEnv::empty(), Site::start());
    let next = |path: &str| format!("<{path}?n=1000&last=x>; rel=\"next\"");
    let list = |names: &[&str]| Page::new(json!({ "repositories": names }).to_string());
    // Nothing of the first page fits.
    let first = || list(&["a", "b"]).header("Link", &next("/v2/_catalog"));
    site.once("/v2/_catalog", first()).page("/v2/_catalog", list(&["team/app"]));
    assert_eq!(
        search(&env, &["--format", "{{.Name}}", &format!("{}/app", site.host())]),
        format!("{}/team/app\n", site.host())
    );
    let asked: Vec<_> = site.requests().into_iter().map(|request| request.path).collect();
    let expected = ["/v1/search?q=app&n=25", "/v2/_catalog?n=1000", "/v2/_catalog?n=1000&last=x"];
    assert_eq!(asked, expected);

    let tags = |tags: &[&str]| Page::new(json!({ "name": "a", "tags": tags }).to_string());
    let first = || tags(&["1", "2", "not a tag"]).header("Link", &next("/v2/a/tags/list"));
    let repository = format!("{}/a", site.host());
    let listed = |args: &[&str]| {
        site.once("/v2/a/tags/list", first()).page("/v2/a/tags/list", tags(&["3"]));
        let all = [&["--list-tags", "--format", "{{.Tag}}"], args, &[&*repository]].concat();
        (search(&env, &all), site.requests().len())
    };
    assert_eq!(listed(&[]), ("1\n2\n3\n".to_owned(), 2));
    assert_eq!(listed(&["--limit", "2"]), ("1\n2\n".to_owned(), 1));
}

#[test]
fn what_cannot_be_searched_is_told() {
    let (env, site) = (TestEnv::empty(), Site::start());
    let term = format!("{}/x", site.host());
    env.kiln(["search", &term]).run().fails(1).says(&[site.host(), "_catalog"]);
    site.page("/v1/search", Page::new("<html>").header("Content-Type", "text/html"));
    site.page("/v2/_catalog", Page::new("nonsense"));
    env.kiln(["search", &term]).run().fails(1).says(&["_catalog", "not answer like a registry"]);
    let offline = env.kiln(["--offline", "search", "nginx"]).run().fails(1);
    offline.says(&["https://index.docker.io/v1/search", "--offline"]);
}

#[test]
fn a_closed_registry_is_searched_by_those_who_have_logged_in() {
    let env = TestEnv::new();
    let Some(registry) = Registry::start_closed(&env.path("")) else { return };
    let kiln = |args: &[&str]| env.kiln(args).env("DOCKER_CONFIG", &env.str("docker"));
    let name = registry.at("team/app:1");
    kiln(&["search", &registry.at("app")]).run().fails(1).says(&[&registry.host]);
    kiln(&["login", "-u", "user", "-p", "secret", &registry.host]).run().ok();
    env.ok(&["tag", "busybox", &name]);
    kiln(&["push", "-q", &name]).run().ok();
    let found = kiln(&["search", &registry.at("app")]).run().ok();
    assert_eq!(names(&String::from_utf8(found.stdout).unwrap()), [registry.at("team/app")]);
}
