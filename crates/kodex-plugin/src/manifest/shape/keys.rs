//! The keys of a manifest: one table.
//!
//! A key of the raw form has its row here and nowhere else.

/// The keys of one table.
pub(super) struct Shape {
    /// How the table is written in the file.
    pub(super) title: &'static str,
    pub(super) keys: &'static [Key],
}

/// One key: its name, its type, and whether it must be there.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
}

/// The type of a value.
pub(super) enum Kind {
    Text,
    Texts,
    Flag,
    /// A whole number within bounds.
    Whole(i64, i64),
    /// A JSON document of any form.
    Json,
    Table(&'static Shape),
    Tables(&'static Shape),
}

const fn must(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        required: true,
    }
}

const fn may(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        required: false,
    }
}

const fn shape(title: &'static str, keys: &'static [Key]) -> Shape {
    Shape { title, keys }
}

/// The whole document.
pub(super) static DOCUMENT: Shape = shape(
    "the top of the file",
    &[
        must("manifest", Kind::Whole(0, u32::MAX as i64)),
        must("plugin", Kind::Table(&PLUGIN)),
        may("run", Kind::Table(&RUN)),
        may("hook", Kind::Tables(&HOOK)),
        may("tool", Kind::Tables(&TOOL)),
        may("permission", Kind::Tables(&PERMISSION)),
        may("database", Kind::Table(&DATABASE)),
        may("requires", Kind::Table(&REQUIRES)),
    ],
);
static PLUGIN: Shape = shape(
    "[plugin]",
    &[
        must("name", Kind::Text),
        must("version", Kind::Text),
        must("description", Kind::Text),
        may("capabilities", Kind::Texts),
        may("api", Kind::Text),
    ],
);
static RUN: Shape = shape(
    "[run]",
    &[
        must("kind", Kind::Text),
        may("entry", Kind::Text),
        may("command", Kind::Texts),
        may("env", Kind::Texts),
    ],
);
static HOOK: Shape = shape(
    "[[hook]]",
    &[
        must("on", Kind::Text),
        may("priority", Kind::Whole(i32::MIN as i64, i32::MAX as i64)),
        may("timeout", Kind::Text),
        may("required", Kind::Flag),
    ],
);
static TOOL: Shape = shape(
    "[[tool]]",
    &[
        must("name", Kind::Text),
        must("description", Kind::Text),
        may("input_schema", Kind::Json),
        may("output_schema", Kind::Json),
        may("annotations", Kind::Table(&ANNOTATIONS)),
        may("timeout", Kind::Text),
        may("needs_caller", Kind::Flag),
    ],
);
static ANNOTATIONS: Shape = shape(
    "[tool.annotations]",
    &[
        may("read_only", Kind::Flag),
        may("destructive", Kind::Flag),
        may("idempotent", Kind::Flag),
        may("open_world", Kind::Flag),
    ],
);
static PERMISSION: Shape = shape(
    "[[permission]]",
    &[must("allow", Kind::Text), may("reason", Kind::Text)],
);
static DATABASE: Shape = shape(
    "[database]",
    &[
        must("migrations", Kind::Text),
        may("renamed_from", Kind::Text),
    ],
);
static REQUIRES: Shape = shape("[requires]", &[may("bin", Kind::Texts)]);

/// All tables, for finding where a misplaced key belongs.
pub(super) static ALL: &[&Shape] = &[
    &PLUGIN,
    &RUN,
    &HOOK,
    &TOOL,
    &PERMISSION,
    &DATABASE,
    &REQUIRES,
    &DOCUMENT,
];
