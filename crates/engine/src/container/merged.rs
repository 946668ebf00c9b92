//! The config of a container: that of its image, with what `run` or `create` was told over it.

use oci::{Config, config::Empty};

use super::options::{ContainerOptions, Port};

/// Returns the config of a container of an image with this config. What it does not have there (variables that every
/// container gets, mounts) is added where it is started.
pub fn merged(options: &ContainerOptions, image: &Config) -> Config {
    let mut config = Config { healthcheck: options.health_check(image), ..image.clone() };
    for variable in &options.env {
        match &variable.value {
            Some(value) => config.set_env(&variable.name, value),
            None => config.env.retain(|entry| entry.split('=').next() != Some(&variable.name)),
        }
    }
    if let Some(entrypoint) = &options.entrypoint {
        config.entrypoint = Some(entrypoint.clone()).filter(|it| !it.is_empty()).map(|it| vec![it]);
        config.cmd = None;
    }
    if !options.command.is_empty() {
        config.cmd = Some(options.command.clone());
    }
    let replace = |place: &mut String, value: &Option<String>| {
        if let Some(value) = value {
            place.clone_from(value);
        }
    };
    replace(&mut config.user, &options.user);
    replace(&mut config.working_dir, &options.workdir);
    replace(&mut config.stop_signal, &options.stop_signal);
    config.labels.extend(options.labels.clone());
    let published = options.publish.iter().map(|publish| publish.container);
    let ports = options.expose.iter().copied().chain(published).flat_map(single);
    config.exposed_ports.extend(ports.map(|port| (port, Empty {})));
    config
}

/// The ports of a range, as a config names them.
fn single(port: Port) -> impl Iterator<Item = String> {
    (port.first..=port.last).map(move |number| format!("{number}/{}", port.protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::options::{Publish, Variable};

    fn image() -> Config {
        Config {
            env: vec!["A=image".to_owned(), "B=image".to_owned()],
            entrypoint: Some(vec!["/e".to_owned()]),
            cmd: Some(vec!["c".to_owned()]),
            user: "u".to_owned(),
            ..Config::default()
        }
    }

    #[test]
    fn nothing_said_is_the_image() {
        assert_eq!(merged(&ContainerOptions::default(), &image()), image());
    }

    #[test]
    fn what_is_said_goes_before_the_image() {
        let variable = |name: &str, value: Option<&str>| Variable {
            name: name.to_owned(),
            value: value.map(str::to_owned),
        };
        let options = ContainerOptions {
            env: vec![variable("A", Some("1")), variable("B", None), variable("C", Some("2"))],
            user: Some("5".to_owned()),
            publish: vec!["8080-8081:80-81".parse::<Publish>().unwrap()],
            ..ContainerOptions::default()
        };
        let config = merged(&options, &image());
        assert_eq!(config.env, ["A=1", "C=2"]);
        assert_eq!(config.user, "5");
        let ports: Vec<_> = config.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["80/tcp", "81/tcp"]);
    }

    #[test]
    fn an_entrypoint_takes_the_images_command_away() {
        let check = |entrypoint: Option<&str>, command: &[&str], expected: (&[&str], &[&str])| {
            let options = ContainerOptions {
                entrypoint: entrypoint.map(str::to_owned),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                ..ContainerOptions::default()
            };
            let config = merged(&options, &image());
            let words = |it: Option<Vec<String>>| it.unwrap_or_default();
            assert_eq!(words(config.entrypoint), expected.0, "{entrypoint:?} {command:?}");
            assert_eq!(words(config.cmd), expected.1, "{entrypoint:?} {command:?}");
        };
        check(None, &[], (&["/e"], &["c"]));
        check(None, &["x"], (&["/e"], &["x"]));
        check(Some("/f"), &[], (&["/f"], &[]));
        check(Some("/f"), &["x"], (&["/f"], &["x"]));
        check(Some(""), &["x"], (&[], &["x"]));
    }
}
