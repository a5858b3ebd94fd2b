//! Texts that are no permission: the code, the place, the hint.

use crate::{Permission, permission::Rule};

/// `case` is a code, a blank, and a text in which `«` and `»` stand around the place to be named.
#[track_caller]
fn check(case: &str) -> Rule {
    let (code, marked) = case.split_once(' ').expect("a code and a text");
    let (before, rest) = marked.split_once('«').expect("the start of the place");
    let (place, after) = rest.split_once('»').expect("the end of the place");
    let text = [before, place, after].concat();
    let error = match text.parse::<Permission>() {
        Err(error) => error,
        Ok(read) => panic!("{text:?} was read as {read}"),
    };
    assert_eq!(error.code(), code, "{text:?}: {error}");
    let want = before.len()..before.len() + place.len();
    assert_eq!(error.span(), want, "span of {error}");
    error.rule()
}

#[test]
fn every_rule_is_broken_by_something() {
    let cases = [
        "permission.text.empty «»",
        "permission.text.empty «   »",
        "permission.text.control fs:read ${project}/a«\0»b",
        "permission.text.control fs:read«\t»${project}",
        "permission.text.control fs:read ${project}/«\u{1b}»[2K",
        "permission.text.control fs:read ${project}/«\u{85}»",
        "permission.text.control fs:read ${project}/\"«\\u{0}»\"",
        "permission.text.control fs:read ${project}/\"«\\u{1b}»\"",
        "permission.text.invisible fs:read ${project}/a«\u{202e}»b",
        "permission.text.invisible fs:read ${project}/\"a«\u{200b}»b\"",
        "permission.text.invisible fs:read«\u{a0}»${project}",
        "permission.text.unclosed fs:read ${project}/«\"»ab",
        "permission.text.unclosed fs:read $«{»project/src",
        "permission.text.unclosed exec:run git «[»\"a\"",
        "permission.text.unclosed fs:read ${project}/«{»a,b",
        "permission.text.escape fs:read ${project}/\"a«\\»n\"",
        "permission.text.escape fs:read ${project}/\"«\\»u{d800}\"",
        "permission.text.escape fs:read ${project}/\"«\\»u{+41}\"",
        "permission.scope.unknown «file»:read ${project}",
        "permission.scope.unknown «FS»:read ${project}",
        "permission.scope.unknown «*»",
        "permission.access.unknown fs:«reed» ${project}",
        "permission.access.unknown fs:«READ» ${project}",
        "permission.access.unknown fs:read«,» list ${project}",
        "permission.access.unknown fs:«*» ${project}",
        "permission.access.missing «fs» ${project}",
        "permission.access.missing «fs:» ${project}",
        "permission.access.unexpected «clock:read»",
        "permission.access.unexpected «clock:»",
        "permission.access.combined «db:own,read»",
        "permission.access.combined «tool:call,provide» a",
        "permission.target.missing «fs:read»",
        "permission.target.missing «fs:read» max_bytes=5",
        "permission.target.unexpected fs:read ${project} «${data}»",
        "permission.target.unexpected fs:read ${tmp} max_bytes=5 «${data}»",
        "permission.target.unexpected fs:read ${tmp} «max_bytes» = 5",
        "permission.target.unexpected clock «now»",
        "permission.target.unexpected schedule:create «mine»",
        "permission.target.unexpected exec:run git «status»",
        "permission.target.unexpected exec:run git [a] «[b]»",
        "permission.target.invalid state:write «self»",
        "permission.target.invalid state:write «shared/*»",
        "permission.target.invalid state:write «self/a»",
        "permission.target.invalid model:call «*»",
        "permission.target.invalid db:read «facts»",
        "permission.target.invalid db:read «Other.facts»",
        "permission.target.invalid db:read «other.*»",
        "permission.target.invalid secret:use «*»",
        "permission.target.invalid secret:use «../x»",
        "permission.target.invalid tool:call «search»",
        "permission.target.invalid tool:call «*»/search",
        "permission.target.invalid tool:call «kodex»/search",
        "permission.target.invalid tool:provide «a.b»",
        "permission.target.invalid hook:observe «tool..after»",
        "permission.target.invalid hook:observe «t*»",
        "permission.target.invalid hook:observe «\"*\"»",
        "permission.target.invalid memory:read «self»",
        "permission.target.invalid memory:read «*»/*",
        "permission.target.invalid exec:run «./tool»",
        "permission.target.invalid exec:run «/usr/bin/*»",
        "permission.target.invalid exec:run «${data}»",
        "permission.target.invalid exec:run «-rf»",
        "permission.pattern.wildcard fs:read ${project}/«a**»",
        "permission.pattern.wildcard fs:read ${project}/«***»",
        "permission.pattern.wildcard fs:read ${project}/«*.rs»",
        "permission.pattern.wildcard fs:read ${project}/«\"\\**\"»",
        "permission.pattern.wildcard exec:run git [«a*»]",
        "permission.pattern.wildcard hook:gate tool.before match=[«*»]",
        "permission.pattern.wildcard hook:gate tool.before match=[«a*b»]",
        "permission.pattern.character fs:read ${project}/src«\\»x",
        "permission.pattern.character fs:read ${project}/«[»id]",
        "permission.pattern.character fs:read ${project}/a«?»",
        "permission.pattern.character fs:read ${project}/\"a\"«b»",
        "permission.pattern.character fs:read ${project}/«\"a/b\"»",
        "permission.pattern.character fs:read ${project}/{a«/»b,c}",
        "permission.pattern.braces fs:read ${project}/«{}»",
        "permission.pattern.braces fs:read ${project}/«{a,}»",
        "permission.pattern.braces fs:read ${project}/{a,«*»}",
        "permission.pattern.braces fs:read ${project}/{a,«{»b,c}}",
        "permission.pattern.braces fs:read ${project}/x.«{»a,b}",
        "permission.path.parent fs:read ${project}/«..»/x",
        "permission.path.parent fs:read ${project}/«\"..\"»",
        "permission.path.parent fs:read ${project}/{a,«..»}",
        "permission.path.dot fs:read ${project}/«.»/x",
        "permission.path.empty_segment fs:read ${project}«/»/x",
        "permission.path.empty_segment fs:read ${project}/x«/»",
        "permission.path.empty_segment fs:read ${project}«/»",
        "permission.path.empty_segment fs:read ${project}/«\"\"»",
        "permission.path.empty_segment fs:read «/»/x",
        "permission.path.relative fs:read «src/**»",
        "permission.path.relative fs:read «../x»",
        "permission.path.relative fs:read «~»",
        "permission.path.relative fs:read «~/x»",
        "permission.path.relative fs:read «$HOME/x»",
        "permission.path.relative fs:read «*»",
        "permission.path.relative fs:read «C:\\x»",
        "permission.path.relative fs:read «\"${project}/x\"»",
        "permission.path.root fs:read «/»",
        "permission.path.root fs:read «/**»",
        "permission.path.root fs:read «/*/x»",
        "permission.variable.unknown fs:read ${«workspace»}/x",
        "permission.variable.unknown fs:read ${«HOME»}/x",
        "permission.variable.unknown fs:read ${«»}/x",
        "permission.variable.place fs:read ${project}«x»",
        "permission.variable.place fs:read /a/«$»{project}",
        "permission.host.url net:connect «https://»a.example/",
        "permission.host.url net:connect a.example«/x»",
        "permission.host.user net:connect «user@»a.example",
        "permission.host.encoded net:connect a«%»2eexample",
        "permission.host.encoded net:connect [fe80::1«%»eth0]",
        "permission.host.character net:connect «a_b».example",
        "permission.host.character net:connect «b\u{fc}cher».example",
        "permission.host.label net:connect «a..example»",
        "permission.host.label net:connect «»:443",
        "permission.host.label net:connect «-a».example",
        "permission.host.trailing_dot net:connect a.example«.»",
        "permission.host.ip_spelling net:connect «0x7f.1»",
        "permission.host.ip_spelling net:connect «2130706433»",
        "permission.host.ip_spelling net:connect «127.1»",
        "permission.host.ip_spelling net:connect «0177.0.0.1»",
        "permission.host.ip_spelling net:connect «127.0.0.0x1»",
        "permission.host.ip_spelling net:connect «1.2.3.4.5»",
        "permission.host.ip_spelling net:connect «256.0.0.1»",
        "permission.host.ip_spelling net:connect «0x7F000001»",
        "permission.host.ip_spelling net:connect [«::ffff:127.0.0.1»]",
        "permission.host.wildcard net:connect «*.com»",
        "permission.host.wildcard net:connect a.«*».example",
        "permission.host.wildcard net:connect «*»a.example.com",
        "permission.host.wildcard net:connect «*.10.0.0.1»",
        "permission.host.brackets net:connect «::1»",
        "permission.host.brackets net:connect «[::1]x»",
        "permission.host.brackets net:connect [«a.example»]",
        "permission.host.network net:connect «10.0.0.1/8»",
        "permission.host.network net:connect 10.0.0.0/«33»",
        "permission.host.network net:connect 10.0.0.0/«08»",
        "permission.host.network net:connect [«fd00::1/8»]",
        "permission.host.loopback net:listen «0.0.0.0:80»",
        "permission.host.loopback net:listen «[::]:80»",
        "permission.host.loopback net:listen «a.example:80»",
        "permission.host.network net:listen «127.0.0.0/7»:80",
        "permission.host.loopback net:listen «*:80»",
        "permission.host.loopback net:connect,listen «a.example:80»",
        "permission.port.range net:connect a.example:«0»",
        "permission.port.range net:connect a.example:«65536»",
        "permission.port.range net:connect a.example:«080»",
        "permission.port.range net:connect a.example:«+80»",
        "permission.port.range net:connect a.example:«»",
        "permission.port.range net:connect a.example:«90-80»",
        "permission.port.missing net:listen «localhost»",
        "permission.env.wildcard env:read «*»",
        "permission.env.wildcard env:read «A*»",
        "permission.env.wildcard env:read «_*»",
        "permission.env.name env:read «*_TOKEN»",
        "permission.env.name env:read «1A»",
        "permission.env.name env:read «A-B»",
        "permission.target.missing «env:read» A=B",
        "permission.constraint.unknown fs:read ${tmp} «max_byte»=5",
        "permission.constraint.unknown clock «max»=5",
        "permission.constraint.duplicate fs:read ${tmp} max_bytes=5 «max_bytes»=5",
        "permission.constraint.unfit fs:list ${tmp} «max_bytes»=5",
        "permission.constraint.unfit net:listen localhost:80 «methods»=[GET]",
        "permission.constraint.unfit net:connect unix:${data}/x «tls»=optional",
        "permission.constraint.unfit state:read self/* «ttl»=5m",
        "permission.constraint.unfit secret:read a «hosts»=[a.example]",
        "permission.constraint.unfit db:read a.b «quota_bytes»=5",
        "permission.constraint.value fs:read ${tmp} max_bytes=«0»",
        "permission.constraint.value fs:read ${tmp} max_bytes=«05»",
        "permission.constraint.value fs:read ${tmp} max_bytes=«-5»",
        "permission.constraint.value fs:read ${tmp} max_bytes=«5MB»",
        "permission.constraint.value fs:read ${tmp} max_bytes=«9007199254740992»",
        "permission.constraint.value fs:read ${tmp} max_bytes=«9999999TiB»",
        "permission.constraint.value fs:read ${tmp} «max_bytes=»",
        "permission.constraint.value fs:read ${tmp} follow=«always»",
        "permission.constraint.value schedule:create min_interval=«5»",
        "permission.constraint.value schedule:create min_interval=«1.5h»",
        "permission.constraint.value model:call any cost_per_day=«0»",
        "permission.constraint.value model:call any cost_per_day=«1.0000001»",
        "permission.constraint.value model:call any cost_per_day=«.5»",
        "permission.constraint.value tool:call a/b effects=«[]»",
        "permission.constraint.value tool:call a/b effects=[read,«»]",
        "permission.constraint.value tool:call a/b effects=[«raed»]",
        "permission.constraint.value net:connect a.example methods=[«BREW»]",
    ];
    let alternatives: Vec<_> = (0..65).map(|n| format!("n{n}")).collect();
    let long = [
        format!(
            "permission.text.too_long «fs:read ${{tmp}}/{}»",
            "x".repeat(4096)
        ),
        format!(
            "permission.pattern.too_long fs:read ${{tmp}}/«{}»",
            "x".repeat(256)
        ),
        format!(
            "permission.pattern.too_long fs:read «${{tmp}}{}»",
            "/x".repeat(64)
        ),
        format!(
            "permission.pattern.too_long fs:read ${{tmp}}/«{{{}}}»",
            alternatives.join(",")
        ),
        format!("permission.host.label net:connect «{}».x", "a".repeat(64)),
    ];
    let broken: Vec<Rule> = cases
        .into_iter()
        .chain(long.iter().map(String::as_str))
        .map(check)
        .collect();
    // No text of a permission breaks the rules about values of variables; see `acceptance`.
    let elsewhere = [Rule::VariableUnset, Rule::VariableValue];
    let is_unbroken = |rule: &&Rule| !broken.contains(rule) && !elsewhere.contains(rule);
    assert_eq!(
        Rule::ALL.iter().filter(is_unbroken).collect::<Vec<_>>(),
        [] as [&Rule; 0]
    );
}

#[test]
fn hints_say_what_to_write() {
    for (text, hint) in [
        ("fss:read ${project}", "did you mean `fs`?"),
        ("secrets:use a", "did you mean `secret`?"),
        ("quux:use a", "known are `fs`, `net`, "),
        ("fs:reed ${project}", "did you mean `read`?"),
        ("fs:Write ${project}", "did you mean `write`?"),
        ("fs ${project}", "write `fs:create` or `fs:delete` or "),
        ("fs:read ${projet}/x", "did you mean `project`?"),
        ("fs:read ${HOME}/x", "did you mean `home`?"),
        ("fs:read src/**", "did you mean `${project}/src/**`?"),
        ("fs:read ~/x", "write `${home}`"),
        ("fs:read $HOME/x", "write `${home}`"),
        ("fs:read ${project}/x/", "remove the extra `/`"),
        ("fs:read ${project}/*.rs", "`*` is one whole name"),
        ("fs:read ${tmp} max_byte=5", "did you mean `max_bytes`?"),
        ("fs:read ${tmp} max_bytes=5MB", "units are KiB"),
        ("clock max=5", "this scope has no constraints"),
        ("net:connect 10.1.2.3/8", "did you mean `10.0.0.0/8`?"),
        ("net:connect [::ffff:10.0.0.1]", "write `10.0.0.1`"),
        ("net:connect b\u{fc}cher.example", "write the `xn--` form"),
        ("env:read *", "GITHUB_*"),
        ("tool:call a/b effects=[raed]", "did you mean `read`?"),
        ("clock:read", "write `clock`"),
        ("fs:read ${project}/a\u{200d}b", "\\u{200d}"),
    ] {
        let error = text.parse::<Permission>().unwrap_err();
        assert!(
            error.hint().is_some_and(|found| found.contains(hint)),
            "{text:?}: {:?}",
            error.hint()
        );
    }
}

#[test]
fn errors_are_safe_to_print() {
    let text = format!("fs:read ${{project}}/\u{1b}[31m{}", "x".repeat(3000));
    let error = text.parse::<Permission>().unwrap_err().to_string();
    assert!(error.len() < 1000 && !error.contains('\u{1b}'), "{error}");
    let long = format!("{}:read x", "y".repeat(4000));
    let error = long.parse::<Permission>().unwrap_err();
    assert!(error.to_string().len() < 1000, "{error}");
}
