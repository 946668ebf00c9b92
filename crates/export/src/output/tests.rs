//! What people write behind `--output`, and what it means.

use super::*;

fn path(value: &str) -> Option<Destination> {
    Some(Destination::Path(value.into()))
}

#[test]
fn values_mean() {
    for (value, kind, dest) in [
        ("out", "local", path("out")),
        ("./a=b", "local", path("./a=b")),
        ("-", "tar", Some(Destination::Stdout)),
        ("type=oci,dest=x.tar", "oci", path("x.tar")),
        ("TYPE=oci,Dest=x.tar", "oci", path("x.tar")),
        ("dest=a,type=tar,dest=b", "tar", path("b")),
        ("type=docker,dest=-", "docker", Some(Destination::Stdout)),
        ("type=docker", "docker", None),
        ("type=image,name=a", "image", None),
        (r#"type=oci,"dest=a,b""#, "oci", path("a,b")),
        (r#"type=oci,"dest=a""b""#, "oci", path("a\"b")),
        ("type=oci,dest=d,tar=false,compression=uncompressed", "oci", path("d")),
    ] {
        let output = Output::parse(value).unwrap();
        assert_eq!((output.kind(), output.dest()), (kind, dest.as_ref()), "{value}");
    }
}

#[test]
fn several_names_stand_in_quotes() {
    let output = Output::parse(r#"type=image,"name=a,host/b:1",push=true"#).unwrap();
    let names: Vec<_> = output.names().unwrap().iter().map(Reference::familiar).collect();
    assert_eq!(names, ["a:latest", "host/b:1"]);
    assert!(output.pushes());
    assert!(!Output::parse("type=oci,dest=x").unwrap().pushes());
    assert!(Output::parse("type=registry,name=a").unwrap().pushes());
}

#[test]
fn what_is_wrong_is_said_with_what_may_be_meant() {
    for (value, text) in [
        ("", "invalid output ``: a field is empty"),
        ("dest=x,tar=true", "it has no `type=`"),
        ("type=oci,dest", "every field is `key=value`"),
        ("type=oci,,dest=x", "a field is empty"),
        (r#"type=oci,"dest=x"#, "a quote is not closed"),
        (r#"type=oci,"dest=x"y"#, "behind the closing quote"),
        ("type=ocl,dest=x", "unknown output type `ocl`; did you mean `oci`?"),
        ("type=dokcer,dest=x", "unknown output type `dokcer`; did you mean `docker`?"),
        ("type=floppy", "unknown output type `floppy`"),
        ("type=oci,dst=x", "output type `oci` has no key `dst`; did you mean `dest`?"),
        ("type=oci,compresion=gzip,dest=x", "did you mean `compression`?"),
        ("type=local,name=x,dest=y", "output type `local` has no key `name`"),
        ("type=oci", "output type `oci` needs `dest`"),
        ("type=local,dest=", "output type `local` needs `dest`"),
        ("type=local,dest=-", "invalid value `-` for `dest`"),
        ("type=oci,dest=-,tar=false", "invalid value `-` for `dest`"),
        ("type=oci,dest=x,tar=maybe", "invalid value `maybe` for `tar`"),
        ("type=oci,dest=x,compression=estargz", "invalid value `estargz` for `compression`"),
        ("type=oci,dest=x,name=A", "cannot name the image"),
    ] {
        let error = Output::parse(value).unwrap_err().to_string();
        assert!(error.contains(text), "{value}: {error}");
    }
}

#[test]
fn times_of_an_output() {
    for kind in ["oci,dest=x", "docker,dest=x", "docker", "local,dest=x", "tar,dest=x", "image"] {
        let output = |keys: &str| Output::parse(&format!("type={kind}{keys}"));
        let plain = output("").unwrap();
        assert_eq!((plain.rewrites_times(), plain.own_epoch()), (false, None), "{kind}");
        assert_eq!((plain.epoch(Some(3)), plain.epoch(None)), (Some(3), None), "{kind}");
        let own = output(",rewrite-timestamp=1,Source-Date-Epoch=-7").unwrap();
        assert_eq!((own.rewrites_times(), own.own_epoch()), (true, Some(Some(-7))), "{kind}");
        assert_eq!(own.epoch(Some(3)), Some(-7), "{kind}");
        let none = output(",source-date-epoch=").unwrap();
        assert_eq!((none.own_epoch(), none.epoch(Some(3))), (Some(None), None), "{kind}");
        for wrong in [",source-date-epoch=now", ",source-date-epoch=1.5", ",rewrite-timestamp=si"] {
            assert!(matches!(output(wrong), Err(Error::Value { .. })), "{kind}{wrong}");
        }
    }
}

#[test]
fn some_outputs_are_images_of_the_store() {
    for (value, stored) in [
        ("type=image", true),
        ("type=registry,name=a", true),
        ("type=docker", true),
        ("type=docker,dest=-", false),
        ("type=oci,dest=x", false),
        ("type=tar,dest=x", false),
        ("out", false),
    ] {
        assert_eq!(Output::parse(value).unwrap().is_stored(), stored, "{value}");
    }
}
