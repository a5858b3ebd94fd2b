//! Every code that reading a manifest can give, and what it means.
//!
//! One table: the reference is generated from it, and a test holds that nothing else is emitted.
//! Codes of [permissions](crate::permission) come from there.

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(pub(super) const $name: &str = $code;)*

        /// The stable codes of manifest diagnostics, sorted, with what each means.
        pub const CODES: &[(&str, &str)] = &[$(($code, $meaning)),*];
    };
}

codes! {
    API_INVALID = "manifest.api.invalid", "`plugin.api` is no range of versions.";
    API_UNSUPPORTED = "manifest.api.unsupported", "`plugin.api` does not include the contract version that this Kodex speaks.";
    CAPABILITY_BLANK = "manifest.capability.blank", "A capability is empty and was left out.";
    CAPABILITY_DUPLICATE = "manifest.capability.duplicate", "A capability is listed twice; one of them was left out.";
    COMMAND_EMPTY = "manifest.command.empty", "`run.command` names no program.";
    COMMAND_WORDS = "manifest.command.words", "The program's name holds blanks; probably program and arguments were written as one text.";
    DATABASE_RENAMED = "manifest.database.renamed_from", "`database.renamed_from` is the plugin's present name.";
    DESCRIPTION_BLANK = "manifest.description.blank", "The description is empty.";
    DESCRIPTION_LONG = "manifest.description.long", "The description is longer than lists can show.";
    ENV_DUPLICATE = "manifest.env.duplicate", "An environment variable is listed twice.";
    ENV_LOADER = "manifest.env.loader", "An environment variable that changes how programs are loaded may not be passed.";
    ENV_NAME = "manifest.env.name", "A text under `run.env` is no name of an environment variable.";
    ENV_RESERVED = "manifest.env.reserved", "An environment variable that Kodex sets itself may not be passed.";
    FORMAT_UNKNOWN = "manifest.format.unknown", "`manifest` names a format version that this Kodex does not read.";
    HOOK_CLOSE = "manifest.hook.close", "The hook is unknown and its name is close to a known one.";
    HOOK_DUPLICATE = "manifest.hook.duplicate", "Two subscriptions name the same hook.";
    HOOK_REQUIRED = "manifest.hook.required", "`required` has an effect on chain hooks only.";
    KEY_DUPLICATE = "manifest.key.duplicate", "A key stands twice in the same table.";
    KEY_MISPLACED = "manifest.key.misplaced", "A key under `run` does not belong to that kind.";
    KEY_MISSING = "manifest.key.missing", "A key that must be there is missing.";
    KEY_UNKNOWN = "manifest.key.unknown", "A key is not part of the format.";
    MORE = "manifest.more", "There were more findings than are shown.";
    NAME_LENIENT = "manifest.name.lenient", "A name declared in code does not follow the rule for names; it is used as it is.";
    PATH_EMPTY = "manifest.path.empty", "A path inside the plugin is empty.";
    PATH_OUTSIDE = "manifest.path.outside", "A path leaves the plugin's root, is absolute, or is written for one system only.";
    PERMISSION_DUPLICATE = "manifest.permission.duplicate", "A permission is asked for twice.";
    REASON_CLEANED = "manifest.reason.cleaned", "The reason of a permission was cut or cleaned of characters that hide text.";
    REASON_MISSING = "manifest.reason.missing", "A permission is asked for without a reason.";
    REQUIRES_BIN = "manifest.requires.bin", "A text under `requires.bin` is no name of a program.";
    RUN_KIND = "manifest.run.kind", "`run.kind` is no known way to run a plugin.";
    RUN_MISSING = "manifest.run.missing", "The plugin declares what only code can do, but has no `[run]`.";
    SYNTAX = "manifest.syntax", "The text is no TOML, or no JSON.";
    TIMEOUT_INVALID = "manifest.timeout.invalid", "A timeout is no span of time.";
    TIMEOUT_LONG = "manifest.timeout.long", "A timeout is longer than ten minutes.";
    TIMEOUT_ZERO = "manifest.timeout.zero", "A timeout is zero.";
    TOO_DEEP = "manifest.too_deep", "The manifest is nested too deep.";
    TOO_LARGE = "manifest.too_large", "The manifest is too large.";
    TOOL_DESCRIPTION = "manifest.tool.description", "The description of a tool is empty.";
    TOOL_DUPLICATE = "manifest.tool.duplicate", "Two tools have the same name.";
    TOOL_SCHEMA = "manifest.tool.schema", "The schema of a tool is not a JSON Schema of an object.";
    TOOL_SCHEMA_LARGE = "manifest.tool.schema_large", "The schema of a tool is too large or nested too deep.";
    TYPE = "manifest.type", "A value has the wrong type.";
    VERSION_FREE = "manifest.version.free", "A version declared in code is no semantic version; it is shown as written.";
    VERSION_INVALID = "manifest.version.invalid", "The plugin's version cannot be read.";
    VERSION_NORMALISED = "manifest.version.normalised", "The plugin's version was completed to a semantic version.";
    NAME_CAPABILITY = "name.capability.invalid", "A capability breaks the rule for capabilities.";
    NAME_HOOK = "name.hook.invalid", "A hook's name breaks the rule for hook names.";
    NAME_PLUGIN = "name.plugin.invalid", "A plugin's name breaks the rule for plugin names.";
    NAME_TOOL = "name.tool.invalid", "A tool's name breaks the rule for tool names.";
}
