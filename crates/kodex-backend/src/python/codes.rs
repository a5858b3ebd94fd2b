//! Codes of what comes before a Python plugin runs.

/// The stable codes, sorted, with what each means and what to do. Those that begin with
/// `load.python.` stand in the ledger beside the plugin; the others are about the machine.
pub const CODES: &[(&str, &str)] = &[
    (
        "cache.manifests.damaged",
        "The cache of manifests was garbled and is written again. Nothing has to be done.",
    ),
    (
        "cache.manifests.write",
        "The cache of manifests cannot be written, so each listing starts Python. Make the cache folder writable, or set KODEX_CACHE_DIR.",
    ),
    (
        "discover.entry_points.egg_info",
        "A package that offers plugins is installed in the old egg form, which is not read. Install it again with `pip install`.",
    ),
    (
        "discover.entry_points.line",
        "A line of an `entry_points.txt` is no entry point. Write `name = package.module:attribute` and install the package again.",
    ),
    (
        "discover.entry_points.unreadable",
        "The metadata of an installed package cannot be read. Check its permissions, or install the package again.",
    ),
    (
        "load.python.activate_failed",
        "The plugin's `activate` raised an error while the plugin was listed. Mend what the message says; `activate` is given the plugin's context.",
    ),
    (
        "load.python.exited",
        "The plugin ended the process while it was imported. Let nothing at the top of the file exit or crash.",
    ),
    (
        "load.python.flood",
        "The plugin wrote more into the pipe to the host than any answer may have. Write to standard error, not to inherited files.",
    ),
    (
        "load.python.inspector",
        "Python or the SDK did not start; no plugin is to blame. The message says what the system refused.",
    ),
    (
        "load.python.invalid",
        "What the plugin declares breaks a rule of the manifest. Mend what the message says.",
    ),
    (
        "load.python.no_get_plugin",
        "The file has no `get_plugin()`. Define it, or start the file's name with `_` if it is no plugin.",
    ),
    (
        "load.python.not_a_manifest",
        "The plugin's `manifest` is no `PluginManifest`. Make it one.",
    ),
    (
        "load.python.protocol",
        "The plugin wrote into the pipe to the host what is no answer. Write to standard error, not to inherited files.",
    ),
    (
        "load.python.raised",
        "The file raised an error while it was imported. The message is Python's own; `kodex check` shows the traceback.",
    ),
    (
        "load.python.request",
        "The plugin cannot be asked what it declares: its path is no UTF-8, or its context is too large. Rename the file or shorten the context.",
    ),
    (
        "load.python.timeout",
        "The plugin was not imported and activated in time. Do slow work at the first call, or raise `python.inspect_timeout`.",
    ),
    (
        "python.environment.unused",
        "A virtual environment lies in the project and is not used, because running it needs the user's word. Activate it, or name it with `--python`.",
    ),
    (
        "python.not_found",
        "There is no Python to run plugins with. Install one of version 3.9 or newer, or name it with `--python`.",
    ),
    (
        "python.pyenv",
        "The version that pyenv selects is not installed. Install it with `pyenv install`, or name another Python.",
    ),
    (
        "python.sdk.io",
        "The SDK for Python cannot be unpacked into the cache folder. Make the folder writable, or set KODEX_CACHE_DIR.",
    ),
    (
        "python.skipped",
        "A program called Python was passed over, because it is not one or stands for another. Name the right one with `--python`.",
    ),
    (
        "python.too_old",
        "The Python that was found is older than 3.9. Install a newer one, or name it with `--python`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn the_table_is_sorted() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
