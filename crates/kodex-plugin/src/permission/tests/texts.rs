//! Random permissions as texts, from every scope.

use proptest::{prelude::*, sample::select};

fn one(texts: &[&str]) -> BoxedStrategy<String> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    select(texts).boxed()
}

/// `key=value`, or nothing.
fn maybe(key: &'static str, values: &[&str]) -> BoxedStrategy<String> {
    let value = one(values).prop_map(move |value| format!(" {key}={value}"));
    prop_oneof![Just(String::new()), value].boxed()
}

fn joined(parts: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    parts.prop_map(|parts| parts.concat()).boxed()
}

/// Names that are easy, and names that need every escape there is.
fn name() -> BoxedStrategy<String> {
    let quoted = "[ -~\u{e9}\u{301}\u{202e}\u{1f600}]{1,6}".prop_filter_map("no name", |name| {
        let is_name = !matches!(name.as_str(), "." | "..") && !name.contains('/');
        let escape = |c: char| match c {
            '"' | '\\' | '*' => format!("\\{c}"),
            '\u{202e}' => "\\u{202e}".to_owned(),
            c => c.to_string(),
        };
        is_name.then(|| format!("\"{}\"", name.chars().map(escape).collect::<String>()))
    });
    prop_oneof![one(&["a", "b", "src", "e\u{301}", "A.rs"]), quoted].boxed()
}

fn segment() -> BoxedStrategy<String> {
    let choice =
        prop::collection::vec(name(), 1..4).prop_map(|names| format!("{{{}}}", names.join(",")));
    prop_oneof![4 => name(), 1 => one(&["*", "**"]), 1 => choice].boxed()
}

pub(super) fn path() -> BoxedStrategy<String> {
    let root = one(&["${project}", "${data}", "${home}", "/usr"]);
    let below = prop::collection::vec(segment(), 0..4);
    (root, below)
        .prop_map(|(root, below)| {
            let below: String = below.iter().map(|segment| format!("/{segment}")).collect();
            format!("{root}{below}")
        })
        .boxed()
}

fn host() -> BoxedStrategy<String> {
    let hosts = [
        "*",
        "*.example.com",
        "*.a.example.com",
        "a.example.com",
        "Example.com",
        "localhost",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3",
        "127.0.0.1",
        "[::1]",
        "[fd00::/8]",
        "[FD12::0:1]",
    ];
    (one(&hosts), one(&["", ":443", ":80", ":80-90", ":*"]))
        .prop_map(|(host, port)| format!("{host}{port}"))
        .boxed()
}

fn list(items: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let items = prop::collection::vec(items, 1..4);
    items
        .prop_map(|items| format!("[{}]", items.join(",")))
        .boxed()
}

fn keyed(key: &'static str, value: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let value = value.prop_map(move |value| format!(" {key}={value}"));
    prop_oneof![Just(String::new()), value].boxed()
}

/// A text that is a permission.
pub(super) fn text() -> BoxedStrategy<String> {
    let fixed = |text: &str| Just(text.to_owned()).boxed();
    let numbers = &["1", "5", "100"];
    let fs = joined(vec![
        one(&[
            "fs:read ",
            "fs:write ",
            "fs:list,read ",
            "fs:write,delete,create,read ",
        ]),
        path(),
        maybe("follow", &["never", "inside"]),
    ]);
    let sized = joined(vec![
        fixed("fs:read "),
        path(),
        maybe("max_bytes", &["1", "5", "1KiB"]),
    ]);
    let net = joined(vec![
        fixed("net:connect "),
        host(),
        maybe("max_bytes_out", numbers),
        keyed("methods", list(one(&["GET", "post", "PUT"]))),
        maybe("tls", &["required", "optional"]),
    ]);
    let listen = one(&[
        "net:listen localhost:80",
        "net:connect,listen [::1]:*",
        "net:listen 127.0.0.0/8:1-9",
    ]);
    let unix = joined(vec![
        one(&["net:connect unix:", "net:listen unix:"]),
        path(),
    ]);
    let exec = joined(vec![
        one(&[
            "exec:run git",
            "exec:run /usr/bin/git",
            "exec:run ${data}/x",
        ]),
        prop_oneof![
            Just(String::new()),
            list(segment()).prop_map(|list| format!(" {list}"))
        ]
        .boxed(),
        maybe("sandbox", &["inherit", "none"]),
    ]);
    let model = joined(vec![
        one(&["model:call small", "model:call any", "model:call x/y"]),
        maybe("cost_per_day", &["1", "2.50", "0.1"]),
        maybe("max_concurrency", numbers),
        maybe("max_tokens_per_call", numbers),
        maybe("tokens_per_day", numbers),
    ]);
    let db = joined(vec![
        fixed("db:own"),
        maybe("max_rows", numbers),
        maybe("quota_bytes", &["1MiB", "5"]),
        maybe("statement_timeout_ms", numbers),
    ]);
    let state = joined(vec![
        one(&["state:write ", "state:read,write "]),
        one(&["self/*", "session/*", "shared/a"]),
        maybe("max_keys", numbers),
        maybe("ttl", &["5m", "300s", "1ms"]),
    ]);
    let secret = joined(vec![
        one(&["secret:use a", "secret:use,read b"]),
        keyed("hosts", list(host())),
    ]);
    let tool = joined(vec![
        one(&[
            "tool:provide *",
            "tool:provide a",
            "tool:call p/a",
            "tool:call p/*",
        ]),
        keyed("effects", list(one(&["read", "write", "external"]))),
    ]);
    let hook = joined(vec![
        one(&[
            "hook:observe ",
            "hook:gate ",
            "hook:transform,gate ",
            "hook:gate,observe ",
        ]),
        one(&["*", "tool.*", "tool.after", "a.b.*", "\"my hook\"", "_x"]),
        keyed("fields", list(one(&["name", "input", "input.path"]))),
        keyed("match", list(one(&["Bash", "mcp__*", "mcp__a", "\"a b\""]))),
    ]);
    let schedule = joined(vec![
        fixed("schedule:create"),
        maybe("max_jobs", numbers),
        maybe("min_interval", &["5m", "1h", "60m", "1500ms"]),
    ]);
    let memory = joined(vec![
        one(&["memory:read ", "memory:write,forget "]),
        one(&["self/*", "self/a", "self/{b,a}", "other/*"]),
        maybe("pii", &["none", "any"]),
    ]);
    let rest = one(&[
        "env:read CI",
        "env:read A_*",
        "env:read A_B",
        "clock",
        "ui",
        "admin",
        "db:read p.v",
    ]);
    prop_oneof![
        3 => fs, 2 => sized, 3 => net, 1 => listen, 1 => unix, 2 => exec, 2 => model, 1 => db,
        1 => state, 1 => secret, 1 => tool, 2 => hook, 1 => schedule, 1 => memory, 1 => rest,
    ]
    .boxed()
}
