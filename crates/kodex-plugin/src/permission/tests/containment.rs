//! Which of two permissions is wider, in tables.

use super::{permission, permissions};
use crate::permission::widens;

/// `wide` contains `narrow`, and not the other way round.
#[track_caller]
fn check_wider(wide: &str, narrow: &str) {
    let (wide, narrow) = (permission(wide), permission(narrow));
    assert!(wide.contains(&narrow), "{wide} should contain {narrow}");
    assert!(
        !narrow.contains(&wide),
        "{narrow} should not contain {wide}"
    );
}

#[track_caller]
fn check_apart(one: &str, two: &str) {
    let (one, two) = (permission(one), permission(two));
    assert!(!one.contains(&two), "{one} should not contain {two}");
    assert!(!two.contains(&one), "{two} should not contain {one}");
}

#[test]
fn wider_and_narrower() {
    for (wide, narrow) in [
        ("fs:read,list ${project}", "fs:read ${project}"),
        ("fs:write ${project}", "fs:create,delete ${project}"),
        ("fs:write ${project} max_bytes=5", "fs:delete ${project}"),
        ("fs:list,read ${project} max_bytes=5", "fs:list ${project}"),
        ("fs:read ${project}", "fs:read ${project} max_bytes=5"),
        (
            "fs:read ${project} max_bytes=6",
            "fs:read ${project} max_bytes=5",
        ),
        ("fs:read ${project} follow=inside", "fs:read ${project}"),
        ("fs:read ${project}/**", "fs:read ${project}"),
        ("fs:read ${project}/**", "fs:read ${project}/*/**/x"),
        ("fs:read ${project}/*", "fs:read ${project}/{a,b}"),
        ("fs:read ${project}/{a,b}/**", "fs:read ${project}/a/{c,d}"),
        ("fs:read ${project}/**/x/**", "fs:read ${project}/a/x/*/x"),
        ("net:connect *:443", "net:connect *.example.com"),
        ("net:connect *.example.com", "net:connect *.a.example.com"),
        ("net:connect *.example.com", "net:connect a.b.example.com"),
        ("net:connect 10.0.0.0/8", "net:connect 10.1.0.0/16"),
        ("net:connect 10.0.0.0/8", "net:connect 10.1.2.3"),
        ("net:connect [fd00::/8]", "net:connect [fd12::1]"),
        ("net:connect 0.0.0.0/0", "net:connect 127.0.0.1"),
        ("net:connect a.example:*", "net:connect a.example:80-90"),
        ("net:connect a.example:80-90", "net:connect a.example:85"),
        (
            "net:connect a.example tls=optional",
            "net:connect a.example",
        ),
        (
            "net:connect a.example",
            "net:connect a.example methods=[GET]",
        ),
        (
            "net:connect a.example methods=[GET,PUT]",
            "net:connect a.example methods=[GET]",
        ),
        (
            "net:connect a.example",
            "net:connect a.example max_bytes_out=5",
        ),
        (
            "net:connect,listen localhost:80 methods=[GET]",
            "net:listen localhost:80",
        ),
        ("net:listen 127.0.0.0/8:*", "net:listen 127.0.0.1:80"),
        (
            "net:connect unix:${data}/**",
            "net:connect unix:${data}/x.sock",
        ),
        ("env:read GITHUB_*", "env:read GITHUB_TOKEN"),
        ("env:read GITHUB_*", "env:read GITHUB_APP_*"),
        ("exec:run git", "exec:run git [\"**\",\"status\"]"),
        (
            "exec:run git [\"status\",\"**\"]",
            "exec:run git [\"status\",\"*\"]",
        ),
        ("exec:run git [\"*\"]", "exec:run git [\"status\"]"),
        ("exec:run git sandbox=none", "exec:run git"),
        ("model:call any", "model:call small"),
        ("model:call any", "model:call gpt"),
        ("model:call small", "model:call small tokens_per_day=5"),
        (
            "model:call small cost_per_day=3",
            "model:call small cost_per_day=2.99",
        ),
        (
            "db:own",
            "db:own max_rows=5 quota_bytes=5 statement_timeout_ms=5",
        ),
        ("state:read,write self/*", "state:read self/*"),
        ("state:read,write self/* ttl=5m", "state:read self/*"),
        ("state:write self/* ttl=5m", "state:write self/* ttl=4m"),
        ("secret:use a", "secret:use a hosts=[a.example]"),
        (
            "secret:use a hosts=[*.example.com]",
            "secret:use a hosts=[a.example.com,b.example.com]",
        ),
        ("secret:read,use a hosts=[a.example]", "secret:read a"),
        ("tool:provide *", "tool:provide search"),
        ("tool:call files/*", "tool:call files/search"),
        (
            "tool:call files/* effects=[read,write]",
            "tool:call files/x effects=[read]",
        ),
        ("hook:gate tool.before", "hook:observe tool.before"),
        ("hook:observe *", "hook:observe tool.*"),
        ("hook:observe *", "hook:observe \"my hook\""),
        ("hook:observe tool.*", "hook:observe tool.after"),
        ("hook:observe model.*", "hook:observe model.switch.*"),
        (
            "hook:observe tool.after",
            "hook:observe tool.after fields=[name]",
        ),
        (
            "hook:observe tool.after fields=[input]",
            "hook:observe tool.after fields=[input.path]",
        ),
        (
            "hook:gate tool.before match=[mcp__*]",
            "hook:gate tool.before match=[mcp__a,mcp__b*]",
        ),
        ("schedule:create", "schedule:create max_jobs=5"),
        (
            "schedule:create min_interval=5m",
            "schedule:create min_interval=6m",
        ),
        ("memory:read self/*", "memory:read self/{a,b}"),
        ("memory:read self/{a,b}", "memory:read self/a"),
        ("memory:read self/* pii=any", "memory:read self/*"),
    ] {
        check_wider(wide, narrow);
    }
}

#[test]
fn every_constraint_alone_decides() {
    for (permission, tight, loose) in [
        ("fs:read ${tmp}", "max_bytes=5", "max_bytes=6"),
        ("fs:create ${tmp}", "max_bytes=5", ""),
        ("fs:list ${tmp}", "follow=never", "follow=inside"),
        (
            "net:connect a.example",
            "max_bytes_out=5",
            "max_bytes_out=6",
        ),
        ("net:listen localhost:80", "max_bytes_out=5", ""),
        (
            "net:connect a.example",
            "methods=[GET]",
            "methods=[GET,PUT]",
        ),
        ("net:connect a.example", "tls=required", "tls=optional"),
        ("exec:run git", "sandbox=inherit", "sandbox=none"),
        ("model:call any", "cost_per_day=1", "cost_per_day=1.1"),
        ("model:call any", "max_concurrency=1", "max_concurrency=2"),
        (
            "model:call any",
            "max_tokens_per_call=1",
            "max_tokens_per_call=2",
        ),
        ("model:call any", "tokens_per_day=1", "tokens_per_day=2"),
        ("db:own", "max_rows=1", "max_rows=2"),
        ("db:own", "quota_bytes=1", "quota_bytes=2"),
        ("db:own", "statement_timeout_ms=1", "statement_timeout_ms=2"),
        ("db:read a.b", "max_rows=1", ""),
        ("state:write self/*", "max_keys=1", "max_keys=2"),
        ("state:write self/*", "ttl=1s", "ttl=2s"),
        (
            "secret:use a",
            "hosts=[a.example]",
            "hosts=[a.example,b.example]",
        ),
        ("tool:call a/b", "effects=[read]", "effects=[read,write]"),
        ("tool:provide a", "effects=[read]", ""),
        ("hook:gate a", "fields=[b]", "fields=[b,c]"),
        ("hook:gate a", "match=[b]", "match=[b,c]"),
        ("schedule:create", "max_jobs=1", "max_jobs=2"),
        ("schedule:create", "min_interval=2m", "min_interval=1m"),
        ("memory:read self/*", "pii=none", "pii=any"),
    ] {
        let (tight, loose) = (
            format!("{permission} {tight}"),
            format!("{permission} {loose}"),
        );
        check_wider(&loose, &tight);
        if ![" follow=", " tls=", " sandbox=", " pii="]
            .iter()
            .any(|key| tight.contains(key))
        {
            check_wider(permission, &tight);
        }
    }
}

#[test]
fn neither_is_wider() {
    for (one, two) in [
        ("fs:read ${project}", "fs:write ${project}"),
        ("fs:read ${project}", "fs:read ${data}"),
        ("fs:read ${project}/a", "fs:read ${project}/ab"),
        ("fs:read ${project}/*/a", "fs:read ${project}/a/*"),
        (
            "fs:read ${project}/** max_bytes=5",
            "fs:read ${project}/x max_bytes=6",
        ),
        ("fs:read /home", "fs:read ${home}"),
        ("net:connect a.example", "net:connect a.example:80"),
        ("net:connect *.example.com", "net:connect example.com"),
        ("net:connect *.example.com", "net:connect evil-example.com"),
        ("net:connect *", "net:connect 127.0.0.1"),
        ("net:connect 0.0.0.0/0", "net:connect [::1]"),
        ("net:connect localhost:80", "net:listen localhost:80"),
        ("net:connect *:443", "net:connect unix:${data}/x"),
        ("env:read GITHUB_*", "env:read GITHUB"),
        ("exec:run git", "exec:run /usr/bin/git"),
        ("exec:run git [\"a\",\"**\"]", "exec:run git [\"**\",\"a\"]"),
        ("model:call small", "model:call large"),
        (
            "model:call small max_concurrency=1",
            "model:call small tokens_per_day=1",
        ),
        ("db:own", "db:read a.b"),
        ("state:write self/*", "state:write session/*"),
        ("state:read shared/a", "state:read shared/ab"),
        ("secret:use a", "secret:read a"),
        ("tool:provide *", "tool:call a/*"),
        ("tool:call a/*", "tool:call b/*"),
        ("hook:gate tool.before", "hook:transform tool.before"),
        ("hook:observe tool.*", "hook:observe tool"),
        ("hook:observe tool.*", "hook:observe tools.a"),
        (
            "hook:observe a fields=[input]",
            "hook:observe a fields=[inputs]",
        ),
        ("memory:read self/*", "memory:read other/*"),
        ("clock", "ui"),
    ] {
        check_apart(one, two);
    }
}

#[test]
fn several_old_ones_may_cover_a_new_one() {
    for (old, new, n_wider) in [
        (
            &["fs:read ${project}/a", "fs:list ${project}/a"][..],
            &["fs:read,list ${project}/a"][..],
            0,
        ),
        (
            &["fs:read ${project}/a/**", "fs:read ${project}/b/**"],
            &["fs:read ${project}/{a,b}/x"],
            0,
        ),
        (&["fs:read ${project}/a"], &["fs:read ${project}/{a,b}"], 1),
        (
            &["memory:read self/a", "memory:read self/b"],
            &["memory:read self/{a,b}"],
            0,
        ),
        (
            &["exec:run git [\"a\"]", "exec:run git [\"b\"]"],
            &["exec:run git [{a,b}]"],
            0,
        ),
        (
            &["fs:write ${project}"],
            &["fs:create,delete ${project}", "fs:read ${project}"],
            1,
        ),
        (&[], &["clock", "ui"], 2),
        (&["clock"], &["clock", "clock"], 0),
    ] {
        let (old, new) = (permissions(old), permissions(new));
        assert_eq!(widens(&old, &new).len(), n_wider, "{old:?} to {new:?}");
    }
}
