//! Texts and their normal forms.

use super::permission;
use crate::Permission;

/// The text reads, prints as wanted, and what it prints reads back as the same.
#[track_caller]
fn check(text: &str, normal: &str) {
    let read = permission(text);
    assert_eq!(read.to_string(), normal, "normal form of {text:?}");
    assert_eq!(permission(normal), read, "{normal:?} read back");
}

#[test]
fn what_is_normal_stays() {
    for text in [
        "fs:read ${project}/src/**",
        "fs:list,read ${data}",
        "fs:read /usr/share/dict/words max_bytes=1048576",
        "fs:write ${tmp}/*/out/** follow=inside max_bytes=5",
        "fs:read ${home}/{.bashrc,.profile}",
        "net:connect api.example.com:443",
        "net:connect *.example.com:443 max_bytes_out=1024 methods=[GET,POST] tls=optional",
        "net:connect *:443",
        "net:connect 10.0.0.0/8:*",
        "net:connect [fd00::/8]:8000-8010",
        "net:listen [::1]:8080",
        "net:connect,listen unix:${data}/x.sock",
        "env:read CI",
        "env:read GITHUB_*",
        "exec:run git [\"status\",\"*\"]",
        "exec:run /usr/bin/git [] sandbox=none",
        "exec:run ${data}/bin/tool",
        "exec:run git [\"push\",{\"fork\",\"origin\"},\"**\"]",
        "model:call small",
        "model:call openai/gpt-5:mini cost_per_day=2.5 max_concurrency=2 \
         max_tokens_per_call=4000 tokens_per_day=10000",
        "db:own",
        "db:own max_rows=1000 quota_bytes=67108864 statement_timeout_ms=5000",
        "db:read kodex-memory.facts max_rows=10",
        "state:write self/*",
        "state:read,write session/* max_keys=100 ttl=1h",
        "state:read shared/build",
        "secret:use github-token hosts=[*.github.com:443,api.github.com:443]",
        "secret:read github-token",
        "tool:provide search",
        "tool:provide *",
        "tool:call files/search",
        "tool:call files/* effects=[external,read]",
        "hook:observe tool.after fields=[duration,name]",
        "hook:gate tool.* match=[Bash,mcp__*]",
        "hook:observe *",
        "hook:observe \"my own hook\"",
        "schedule:create max_jobs=5 min_interval=5m",
        "schedule:create",
        "memory:write self/*",
        "memory:forget,read self/{fact,preference} pii=any",
        "clock",
        "ui",
        "admin",
    ] {
        check(text, text);
    }
}

#[test]
fn what_means_the_same_is_written_alike() {
    for (text, normal) in [
        // Blanks, accesses, constraints.
        ("  fs:read   ${project}  ", "fs:read ${project}"),
        ("fs:read,list,read ${project}", "fs:list,read ${project}"),
        ("fs:delete,write,create ${tmp}", "fs:write ${tmp}"),
        ("hook:observe,gate tool.before", "hook:gate tool.before"),
        (
            "fs:read ${tmp} max_bytes=1MiB follow=never",
            "fs:read ${tmp} max_bytes=1048576",
        ),
        (
            "fs:read ${tmp} max_bytes=\"5\"",
            "fs:read ${tmp} max_bytes=5",
        ),
        // Paths.
        ("fs:read ${project}/**/**", "fs:read ${project}/**"),
        ("fs:read ${project}/**/*/x", "fs:read ${project}/*/**/x"),
        ("fs:read ${project}/**/*/**/*", "fs:read ${project}/*/*/**"),
        ("fs:read ${project}/{b,a,b}", "fs:read ${project}/{a,b}"),
        (
            "fs:read ${project}/{ a , \"b\" }",
            "fs:read ${project}/{a,b}",
        ),
        ("fs:read ${project}/{a}", "fs:read ${project}/a"),
        (
            "fs:read ${project}/\"src\"/\"*\"",
            "fs:read ${project}/src/*",
        ),
        (
            "fs:read ${project}/\"my file\"",
            "fs:read ${project}/\"my file\"",
        ),
        ("fs:read ${project}/\"\\*\"", "fs:read ${project}/\"\\*\""),
        (
            "fs:read ${project}/\"a\\\"b\\\\c\"",
            "fs:read ${project}/\"a\\\"b\\\\c\"",
        ),
        ("fs:read ${project}/\"[id]\"", "fs:read ${project}/\"[id]\""),
        ("fs:read ${project}/\"\\u{41}\"", "fs:read ${project}/A"),
        (
            "fs:read ${project}/\"a\\u{200d}b\"",
            "fs:read ${project}/\"a\\u{200d}b\"",
        ),
        (
            "fs:read ${project}/cafe\u{301}",
            "fs:read ${project}/caf\u{e9}",
        ),
        (
            "fs:read ${project}/\"cafe\u{301} x\"",
            "fs:read ${project}/\"caf\u{e9} x\"",
        ),
        (
            "fs:read ${project}/e\u{323}\u{302}",
            "fs:read ${project}/\u{1ec7}",
        ),
        // Hosts.
        (
            "net:connect API.Example.COM",
            "net:connect api.example.com:443",
        ),
        ("net:connect 10.0.0.1/32", "net:connect 10.0.0.1:443"),
        (
            "net:connect [2001:DB8:0:0::1]",
            "net:connect [2001:db8::1]:443",
        ),
        ("net:connect [::1/128]:80", "net:connect [::1]:80"),
        ("net:connect a.example:1-65535", "net:connect a.example:*"),
        ("net:connect a.example:80-80", "net:connect a.example:80"),
        (
            "net:connect a.example tls=required",
            "net:connect a.example:443",
        ),
        (
            "net:connect a.example methods=[post, get,POST]",
            "net:connect a.example:443 methods=[GET,POST]",
        ),
        (
            "net:connect a.example methods=GET",
            "net:connect a.example:443 methods=[GET]",
        ),
        (
            "secret:use t hosts=[b.example,A.example:80]",
            "secret:use t hosts=[a.example:80,b.example:443]",
        ),
        (
            "secret:use t hosts=[[::1]:80]",
            "secret:use t hosts=[[::1]:80]",
        ),
        // Arguments.
        (
            "exec:run git [ \"status\" , \"*\" ]",
            "exec:run git [\"status\",\"*\"]",
        ),
        (
            "exec:run git [status, *]",
            "exec:run git [\"status\",\"*\"]",
        ),
        ("exec:run git [\"**\"]", "exec:run git"),
        (
            "exec:run git [log,--format=%H,a/b]",
            "exec:run git [\"log\",\"--format=%H\",\"a/b\"]",
        ),
        (
            "exec:run git [\"\",\"\\*\",\"a, b]\"]",
            "exec:run git [\"\",\"\\*\",\"a, b]\"]",
        ),
        ("exec:run git sandbox=inherit", "exec:run git"),
        // Numbers and the rest.
        (
            "model:call any cost_per_day=2.50",
            "model:call any cost_per_day=2.5",
        ),
        (
            "model:call any cost_per_day=3.000000",
            "model:call any cost_per_day=3",
        ),
        (
            "model:call any cost_per_day=0.000001",
            "model:call any cost_per_day=0.000001",
        ),
        (
            "schedule:create min_interval=300s",
            "schedule:create min_interval=5m",
        ),
        (
            "schedule:create min_interval=90s",
            "schedule:create min_interval=90s",
        ),
        (
            "schedule:create min_interval=48h",
            "schedule:create min_interval=2d",
        ),
        ("state:write self/* ttl=1000ms", "state:write self/* ttl=1s"),
        (
            "tool:call a/b effects=[write,read,external]",
            "tool:call a/b",
        ),
        (
            "hook:observe tool.after fields=[name, duration,name]",
            "hook:observe tool.after fields=[duration,name]",
        ),
        ("hook:observe \"tool.after\"", "hook:observe tool.after"),
        (
            "hook:gate a match=[\"mcp*\",\"a/*\",\"b/c\"]",
            "hook:gate a match=[\"a/*\",\"b/c\",mcp*]",
        ),
        ("memory:read self/{b, a}", "memory:read self/{a,b}"),
        ("memory:read self/{a}", "memory:read self/a"),
        ("memory:read self/* pii=none", "memory:read self/*"),
    ] {
        check(text, normal);
    }
}

#[test]
fn serde_carries_the_text() {
    let read: Permission = serde_json::from_str(r#""fs:read,list ${project}""#).unwrap();
    assert_eq!(
        serde_json::to_string(&read).unwrap(),
        r#""fs:list,read ${project}""#
    );
    let error = serde_json::from_str::<Permission>(r#""fs:reed ${project}""#).unwrap_err();
    assert!(error.to_string().contains("`reed` is no access"), "{error}");
}

#[test]
fn constraints_are_sorted_in_the_normal_form() {
    for text in [
        "fs:read ${tmp} max_bytes=1 follow=inside",
        "net:connect a.example tls=optional methods=[GET] max_bytes_out=1",
        "model:call any tokens_per_day=1 max_tokens_per_call=1 max_concurrency=1 cost_per_day=1",
        "db:own statement_timeout_ms=1 quota_bytes=1 max_rows=1",
        "state:write self/* ttl=1s max_keys=1",
        "hook:gate a match=x fields=y",
        "schedule:create min_interval=1s max_jobs=1",
    ] {
        let normal = permission(text).to_string();
        let keys: Vec<_> = normal
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .collect();
        assert!(keys.len() > 1 && keys.is_sorted(), "{normal}");
    }
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_is_a_text_with_real_examples() {
    let schema = schemars::schema_for!(Permission);
    assert_eq!(schema.as_value()["type"], "string");
    let examples = schema.as_value()["examples"].as_array().expect("examples");
    for example in examples {
        permission(example.as_str().expect("a text"));
    }
}
