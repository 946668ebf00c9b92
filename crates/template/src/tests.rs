//! Templates against what Go's documentation, and Docker's, say of them.

use serde_json::json;

use super::*;

fn document() -> Data {
    let document = json!({
        "Id": "sha256:0123",
        "RepoTags": ["demo:1", "demo:2"],
        "Parent": "",
        "Size": 1_982_364,
        "Share": 0.5,
        "Config": {
            "Env": ["PATH=/bin", "A=b c"],
            "Cmd": null,
            "Labels": {"b": "2", "a": "1", "a.b/c": "3"},
            "Tty": false,
        },
        "Mounts": [{"Source": "/a", "RW": true}, {"Source": "/b", "RW": false}],
        "Ports": {"80/tcp": [{"HostPort": "8080"}], "443/tcp": null},
        "Nothing": null,
        "Markup": "<a&b>",
    });
    Data::document(&document)
        .absent("Config.Cmd", Absent::List)
        .absent("Config.Entrypoint", Absent::List)
        .absent("Config.Labels", Absent::Map)
        .absent("Config.Volumes", Absent::Map)
        .absent("Config.Healthcheck", Absent::Pointer)
        .absent("Ports", Absent::Map)
}

fn render(template: &str) -> Result<String, Error> {
    Template::parse(template)?.render(&document())
}

#[track_caller]
fn check(template: &str, expected: &str) {
    assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
}

#[track_caller]
fn check_error(template: &str, expected: &str) {
    match render(template) {
        Ok(text) => panic!("{template} made {text:?}"),
        Err(error) => assert_eq!(error.to_string(), format!("template: :{expected}"), "{template}"),
    }
}

#[test]
fn fields() {
    check("plain text, { braces }", "plain text, { braces }");
    check("{{.Id}} {{.RepoTags}} {{.Size}} {{.Parent}}", "sha256:0123 [demo:1 demo:2] 1982364 ");
    check("{{ .Config.Env }}", "[PATH=/bin A=b c]");
    check("{{.Config.Tty}} {{.Share}}", "false 0.5");
    check("{{.Config.Labels}}", "map[a:1 a.b/c:3 b:2]");
    check("{{.Config.Labels.a}}{{.Config.Labels.zz}}", "1<no value>");
    check("{{$.Id}}{{(.Config).Tty}}", "sha256:0123false");
    check("{{.Mounts}}", "[{/a true} {/b false}]");
}

#[test]
fn what_json_leaves_out() {
    check("{{.Config.Cmd}} {{.Config.Entrypoint}} {{.Config.Volumes}}", "[] [] map[]");
    check("{{.Config.Healthcheck}} {{.Nothing}}", "<nil> <no value>");
    check("{{json .Config.Cmd}} {{json .Config.Volumes}} {{json .Nothing}}", "null null null");
    check("{{if .Config.Healthcheck}}a{{else}}b{{end}}", "b");
    check("{{len .Config.Cmd}}{{range .Config.Volumes}}x{{end}}", "0");
    // It is no part of the JSON.
    check(
        "{{json .Config}}",
        r#"{"Env":["PATH=/bin","A=b c"],"Cmd":null,"Labels":{"b":"2","a":"1","a.b/c":"3"},"Tty":false}"#,
    );
}

#[test]
fn index_len_and_slice() {
    check("{{index .RepoTags 0}} {{index .Config.Labels \"a.b/c\"}}", "demo:1 3");
    check("{{index .Config.Labels \"zz\"}}|{{index .Config.Volumes \"x\"}}", "|");
    check("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080");
    check("{{index .Ports \"80/tcp\" 0}}", "{8080}");
    check("{{len .RepoTags}} {{len .Id}} {{len .Config.Labels}}", "2 11 3");
    check("{{slice .Id 7 9}} {{slice .RepoTags 1}}", "01 [demo:2]");
    check("{{index .Id 0}}", "115");
}

#[test]
fn if_with_and_range() {
    check("{{if .Id}}yes{{end}}{{if .Parent}}no{{end}}", "yes");
    check(
        "{{if .Parent}}a{{else if .Config.Tty}}b{{else if eq .Size 1982364}}c{{else}}d{{end}}",
        "c",
    );
    check("{{with .Config}}{{.Tty}}{{end}}", "false");
    check("{{with .Parent}}a{{else}}{{.Id}}{{end}}", "sha256:0123");
    check("{{with $x := 5}}{{$x}}{{end}}", "5");
    check("{{with .Parent}}a{{else with .Id}}{{.}}{{end}}", "sha256:0123");
    check("{{range .RepoTags}}<{{.}}>{{end}}", "<demo:1><demo:2>");
    check("{{range $i, $tag := .RepoTags}}{{$i}}={{$tag}} {{end}}", "0=demo:1 1=demo:2 ");
    check("{{range $tag := .RepoTags}}{{$tag}}{{$.Parent}};{{end}}", "demo:1;demo:2;");
    check("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}},{{end}}", "a:1,a.b/c:3,b:2,");
    check("{{range .Config.Cmd}}x{{else}}none{{end}}", "none");
    check(
        "{{range $p, $b := .Ports}}{{$p}}{{range $b}} -> {{.HostPort}}{{end}} {{end}}",
        "443/tcp 80/tcp -> 8080 ",
    );
    check("{{range 3}}{{.}}{{end}}", "012");
    check("{{range .Mounts}}{{if .RW}}{{continue}}{{end}}{{.Source}}{{end}}", "/b");
    check("{{range .RepoTags}}{{.}}{{break}}{{end}}", "demo:1");
}

#[test]
fn variables() {
    check("{{$x := .Id}}{{$x}}", "sha256:0123");
    check("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2");
    check("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1");
    check("{{$c := .Config}}{{$c.Tty}}", "false");
    check("{{$n := 0}}{{range .RepoTags}}{{$n = len .}}{{end}}{{$n}}", "6");
}

#[test]
fn pipes_and_dockers_functions() {
    check("{{.Id | upper}} {{upper .Id | lower}}", "SHA256:0123 sha256:0123");
    check("{{join .Config.Env \", \"}}", "PATH=/bin, A=b c");
    check(
        "{{json .RepoTags}} {{json .Id}} {{json .Size}}",
        r#"["demo:1","demo:2"] "sha256:0123" 1982364"#,
    );
    check("{{json .Markup}}", r#""<a&b>""#);
    check("{{split .Id \":\"}} {{index (split .Id \":\") 1}}", "[sha256 0123] 0123");
    check("{{title \"ab cd_e-f\"}}", "Ab Cd_e-F");
    check("{{truncate .Id 6}}|{{truncate .Id 99}}|{{truncate \"äöü\" 3}}", "sha256|sha256:0123|ä");
    check("{{pad .Id 1 2}}|{{pad .Parent 1 2}}", " sha256:0123  |");
    check("{{println .Size .Id}}", "1982364 sha256:0123\n");
    check("{{print 1 2 \"a\" 3}}", "1 2a3");
    check("{{printf \"%s: %d\" .Id .Size}}", "sha256:0123: 1982364");
    check("{{.Size | printf \"%08d|%-9d|%x\" 5 6}}", "00000005|6        |1e3f9c");
    check(
        "{{html .Markup}} {{urlquery \"a b&c\"}} {{js \"it's\"}}",
        r"&lt;a&amp;b&gt; a+b%26c it\'s",
    );
}

#[test]
fn comparisons() {
    check(
        "{{eq .Id \"x\" \"sha256:0123\"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 3 2}}",
        "true true true true false true",
    );
    check(
        "{{and .Id .Parent}}|{{and .Id 5}}|{{or .Parent 7}}|{{or .Parent false}}|{{not .Id}}",
        "|5|7|false|false",
    );
    check("{{eq 0 0.0}} {{ne 0.0 1}} {{lt 1 1.5}} {{ge 2.0 3}}", "true true true false");
    check("{{eq .Config.Healthcheck nil}} {{eq .Id nil}} {{lt \"a\" \"b\"}}", "true false true");
    // What need not be looked at is not.
    check("{{or true (index .RepoTags 9)}} {{and false .Nope}}", "true false");
}

#[test]
fn white_space_and_comments() {
    check("a {{- .Size -}} b", "a1982364b");
    check("a\n  {{- /* a comment */ -}}\n b{{/* } */}}c", "abc");
    check("{{-3}}{{3 -}} x", "-33x");
    check("{{`raw \"text\"`}}{{\"\\u00e4\\t\\x41\\101\"}}{{'a'}}", "raw \"text\"ä\tAA97");
    check("{{\n.Id\n}}", "sha256:0123");
    check("{{0x10}} {{1e3}} {{1_000}} {{2.50}} {{1e21}}", "16 1000 1000 2.5 1e+21");
}

#[test]
fn what_printf_makes() {
    for (call, expected) in [
        (r#""%5s|%-5s|%.2s" "abc" "abc" "abc""#, "  abc|abc  |ab"),
        (r#""%q %v %+d %t" "a\"b" "x" 5 true"#, r#""a\"b" x +5 true"#),
        (r#""%5.2f|%e|%g" 3.14159 1500.0 0.00001"#, " 3.14|1.500000e+03|1e-05"),
        (r#""%d" "x""#, "%!d(string=x)"),
        (r#""%s %s" "x""#, "x %!s(MISSING)"),
        (r#""%s" "x" 5 "y""#, "x%!(EXTRA int=5, string=y)"),
        (r#""100%%" "#, "100%"),
        (r#""%s %d" .RepoTags .Nothing"#, "[demo:1 demo:2] %!d(<nil>)"),
        (r#""%*d|%x|%X|%o|%b|%c|%U" 5 42 "hi" 255 8 5 'x' 'x'"#, "   42|6869|FF|10|101|x|U+0078"),
        (r#""%T %T %v" .Id .Size .Config.Labels"#, "string int map[a:1 a.b/c:3 b:2]"),
        (r#""%""#, "%!(NOVERB)"),
        (r#""%9999999d" 5"#, "%!(BADWIDTH)5"),
        (r#""%05d|%+.3d|% d" -42 7 7"#, "-0042|+007| 7"),
    ] {
        check(&format!("{{{{printf {call}}}}}"), expected);
    }
}

#[test]
fn what_cannot_be_read() {
    for (template, expected) in [
        ("{{.Id", "1: unclosed action"),
        ("{{", "1: unclosed action"),
        ("{{}}", "1: missing value for command"),
        ("{{.Id}}\n{{nope .Id}}", "2: function \"nope\" not defined"),
        ("{{$x}}", "1: undefined variable \"$x\""),
        ("{{if .Id}}", "1: unexpected EOF"),
        ("{{if}}{{end}}", "1: missing value for if"),
        ("{{end}}", "1: unexpected {{end}}"),
        ("{{else}}", "1: unexpected {{else}}"),
        ("{{.Id | 5}}", "1: non executable command in pipeline stage 2"),
        ("{{\"abc}}", "1: unterminated quoted string"),
        ("{{(.Id}}", "1: unclosed left paren"),
        ("{{.Id)}}", "1: unexpected right paren"),
        ("{{.Id | }}", "1: missing value for command"),
        ("{{.Id ! 5}}", "1: unexpected \"!\" in operand"),
        ("{{.Id@}}", "1: bad character U+0040 '@'"),
        ("{{3x}}", "1: bad number syntax: \"3x\""),
        ("{{range $a, $b, $c := .Id}}{{end}}", "1: too many declarations in range"),
        ("{{$a, $b := .Id}}", "1: too many declarations in command"),
        ("{{break}}", "1: {{break}} outside {{range}}"),
        ("{{/* x", "1: unclosed comment"),
        ("{{5.Id}}", "1: bad number syntax: \"5.Id\""),
        ("{{true.Id}}", "1: unexpected . after term \"true\""),
        ("{{define \"x\"}}{{end}}", "1: {{define}} is not known here: a format has one template"),
        ("{{if .Id}}a{{else}}b{{else}}c{{end}}", "1: expected end; found {{else}}"),
    ] {
        match render(template) {
            Ok(text) => panic!("{template} made {text:?}"),
            Err(error) => {
                assert_eq!(error.to_string(), format!("template: :{expected}"), "{template}")
            }
        }
    }
}

#[test]
fn what_does_not_go_with_the_document() {
    check_error("{{.Nope}}", "1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\"");
    check_error(
        "{{.Config.Nope}}",
        "1:9: executing \"\" at <.Config.Nope>: map has no entry for key \"Nope\"",
    );
    check_error(
        "a\nbc{{.Id.X}}",
        "2:7: executing \"\" at <.Id.X>: can't evaluate field X in type string",
    );
    check_error(
        "{{.Config.Healthcheck.Test}}",
        "1:9: executing \"\" at <.Config.Healthcheck.Test>: nil pointer evaluating interface {}.Test",
    );
    check_error(
        "{{index .RepoTags 5}}",
        "1:2: executing \"\" at <index .RepoTags 5>: error calling index: index out of range: 5",
    );
    check_error(
        "{{lower .Size}}",
        "1:2: executing \"\" at <lower .Size>: wrong type for value; expected string; got int",
    );
    check_error(
        "{{len}}",
        "1:2: executing \"\" at <len>: wrong number of args for len: want 1 got 0",
    );
    check_error(
        "{{.Id 5}}",
        "1:2: executing \"\" at <.Id>: Id has arguments but cannot be invoked as function",
    );
    check_error(
        "{{eq .Id 5}}",
        "1:2: executing \"\" at <eq .Id 5>: error calling eq: incompatible types for comparison",
    );
    check_error(
        "{{range .Id}}{{end}}",
        "1:8: executing \"\" at <.Id>: range can't iterate over sha256:0123",
    );
    check_error("{{nil}}", "1:2: executing \"\" at <nil>: nil is not a command");
    check_error("{{5 6}}", "1:2: executing \"\" at <5>: can't give argument to non-function 5");
    check_error(
        "{{len .Size}}",
        "1:2: executing \"\" at <len .Size>: error calling len: len of type int",
    );
}

#[test]
fn rows_of_listings() {
    let row = json!({"ID": "0123", "Size": "1.98MB", "Tag": "<none>"});
    let row = Data::row(&row).method("Label", &json!({"a": "1"}));
    let render = |template: &str| Template::parse(template).unwrap().render(&row);
    assert_eq!(
        render("{{json .}}").unwrap(),
        r#"{"ID":"0123","Size":"1.98MB","Tag":"\u003cnone\u003e"}"#
    );
    assert_eq!(render("{{json .Tag}}{{upper .Size}}").unwrap(), "\"<none>\"1.98MB");
    assert_eq!(render("{{.Label \"a\"}}|{{.Label \"b\"}}").unwrap(), "1|");
    let error = render("{{.Nope}}").unwrap_err().to_string();
    assert!(error.contains("can't evaluate field Nope"), "{error}");
    assert!(error.contains(".ID, .Label, .Size, .Tag"), "{error}");
}

#[test]
fn heads_of_tables() {
    let head = Data::row(&json!({"ID": "IMAGE ID", "Size": "SIZE"}));
    let template =
        Template::parse("{{lower .ID}}\t{{json .Size}}\t{{truncate .ID 2}}\t{{pad .ID 1 0}}")
            .unwrap();
    assert_eq!(template.render_head(&head).unwrap(), "IMAGE ID\tSIZE\tIMAGE ID\t IMAGE ID");
    let labels = Template::parse("{{.Label \"a.b.my-own_part\"}}\t{{.Label \"x\"}}").unwrap();
    assert_eq!(labels.render_head(&head).unwrap(), "my own part\tx");
    assert!(template.mentions("Size") && !template.mentions("Digest"));
    assert!(
        Template::parse("{{if .X}}{{upper (lower .Digest)}}{{end}}").unwrap().mentions("Digest")
    );
}

#[test]
fn no_template_ends_the_program() {
    for template in [
        "(".repeat(5000),
        "{{".to_owned() + &"(".repeat(5000),
        "{{if 1}}".repeat(5000),
        "{{\"\\".to_owned(),
        "{{\"\\x4\"}}".to_owned(),
        "{{'ab'}}".to_owned(),
        "{{printf \"%*.*\" 5}}".to_owned(),
        "{{slice .Id 5 3}}{{slice .Id -1}}".to_owned(),
        "{{99999999999999999999999999999999999999999}}".to_owned(),
        "{{- ".to_owned(),
        "{{ä}}{{.ä}}{{$ä}}".to_owned(),
    ] {
        let _ = render(&template);
    }
}
