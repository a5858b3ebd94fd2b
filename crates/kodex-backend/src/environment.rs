//! The environment of a worker: a few fixed variables and the ones it was given.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use kodex_plugin::{PluginName, manifest::is_loader_variable};

/// Where programs are looked for when nobody says otherwise.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment of a worker, apart from its mark.
///
/// What is given never overrides `KODEX_*`, and variables that change how programs are loaded never
/// pass, whoever names them.
#[must_use]
pub fn environment(
    plugin: &PluginName,
    root: &Path,
    path: &OsStr,
    given: &[(OsString, OsString)],
) -> Vec<(OsString, OsString)> {
    let mut pairs: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), path.into()),
        ("LANG".into(), "C.UTF-8".into()),
    ];
    for (name, value) in given {
        if passes(name) {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name.clone(), value.clone()));
        }
    }
    pairs.push(("KODEX_PLUGIN".into(), plugin.as_str().into()));
    pairs.push(("KODEX_PLUGIN_ROOT".into(), root.into()));
    pairs
}

fn passes(name: &OsStr) -> bool {
    // A name that is no text cannot be on the list of names that a manifest allows.
    name.to_str().is_some_and(|name| {
        !name.is_empty()
            && !name.contains(['=', '\0'])
            && !name.starts_with("KODEX_")
            && !is_loader_variable(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_variables_pass() {
        let plugin = PluginName::new("demo").expect("a name");
        let given = [
            ("HOME", "/home/a"),
            ("LANG", "de_DE.UTF-8"),
            ("LD_PRELOAD", "evil.so"),
            ("PYTHONPATH", "/evil"),
            ("NODE_OPTIONS", "--require evil"),
            ("GIT_DIR", "/evil"),
            ("KODEX_WORKER", "forged"),
            ("", "x"),
        ]
        .map(|(name, value)| (name.into(), value.into()));
        let got = environment(&plugin, Path::new("/plug"), OsStr::new("/bin"), &given);
        let got: Vec<String> = got
            .iter()
            .map(|(name, value)| format!("{}={}", name.display(), value.display()))
            .collect();
        assert_eq!(
            got,
            [
                "PATH=/bin",
                "HOME=/home/a",
                "LANG=de_DE.UTF-8",
                "KODEX_PLUGIN=demo",
                "KODEX_PLUGIN_ROOT=/plug",
            ]
        );
    }
}
