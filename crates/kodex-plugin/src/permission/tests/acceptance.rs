//! The acceptance cases that the grammar alone decides.

use super::{permission, permissions};
use crate::{
    Permission,
    permission::{
        AbsolutePath, EnvPattern, Host, NetTarget, PathPattern, Rule, Variable, Variables, digest,
        show, widens,
    },
};

fn variables() -> Variables {
    let variables = Variables::new().with(Variable::Project, "/home/mo/shop");
    variables
        .and_then(|variables| variables.with(Variable::Home, "/home/mo"))
        .expect("clean paths")
}

#[track_caller]
fn check_path(pattern: &str, path: &str, want: bool) {
    let pattern: PathPattern = pattern.parse().expect("a pattern");
    let path: AbsolutePath = path.parse().expect("a path");
    assert_eq!(
        pattern
            .expand(&variables())
            .expect("a value")
            .matches(&path),
        Some(want)
    );
}

#[test]
fn ac_103_components_are_compared_whole() {
    check_path("${project}/a", "/home/mo/shop/a", true);
    check_path("${project}/a", "/home/mo/shop/ab", false);
    check_path("${project}/a", "/home/mo/shop/a/b", false);
    check_path("${project}/a/**", "/home/mo/shop/ab/c", false);
    check_path("${project}/a/**", "/home/mo/shop/a/b", true);
    check_path("${project}/a/**", "/home/mo/shop/a", true);
    check_path("${project}/**", "/home/mo/shopping", false);
    check_path("${project}/*", "/home/mo/shop/a/b", false);
    check_path("${home}/**", "/home/mo/shop/a", true);
    check_path("${project}/caf\u{e9}", "/home/mo/shop/cafe\u{301}", true);
}

#[test]
fn ac_107_a_wildcard_host_leaves_out_its_parent_and_says_so() {
    let Permission::Net(net) = permission("net:connect *.example.com") else {
        panic!("a net permission")
    };
    let NetTarget::Endpoint(endpoint) = net.target else {
        panic!("an endpoint")
    };
    for (host, want) in [
        ("a.example.com", true),
        ("A.B.Example.Com", true),
        ("example.com", false),
        ("evil-example.com", false),
        ("example.com.evil.test", false),
        ("127.0.0.1", false),
    ] {
        let host: Host = host.parse().expect("a host");
        assert_eq!(endpoint.matches(&host, 443), want, "{host}");
        assert!(!endpoint.matches(&host, 80));
        assert_eq!(endpoint.host.mismatch(&host).is_none(), want);
    }
    let why = endpoint
        .host
        .mismatch(&"example.com".parse().expect("a host"));
    let want = "`*.example.com` covers the names below `example.com`, not `example.com` itself";
    assert_eq!(why.as_deref(), Some(want));
}

#[test]
fn ac_110_arguments_match_token_by_token() {
    let Permission::Exec(exec) = permission("exec:run git [\"status\",\"*\"]") else {
        panic!("an exec permission")
    };
    for (arguments, want) in [
        (&["status", "-s"][..], true),
        (&["status", "*"], true),
        (&["status"], false),
        (&["status", "-s", "-b"], false),
        (&["-c", "core.pager=evil", "status"], false),
        (&["status -s"], false),
        (&[], false),
    ] {
        assert_eq!(exec.allows_arguments(arguments), want, "{arguments:?}");
    }
}

#[test]
fn ac_117_a_wider_path_asks() {
    let (old, new) = (
        permissions(&["fs:read ${project}/src/**"]),
        permissions(&["fs:read ${project}/**"]),
    );
    assert_eq!(widens(&old, &new), [&new[0]]);
    assert_ne!(digest(&old), digest(&new));
}

#[test]
fn ac_118_dropping_and_narrowing_ask_nothing() {
    let old = permissions(&["fs:read ${project}/**", "env:read CI"]);
    assert!(widens(&old, &old[..1]).is_empty());
    assert!(widens(&old, &[]).is_empty());
    assert!(widens(&old, &permissions(&["fs:read ${project}/a max_bytes=1"])).is_empty());
}

#[test]
fn ac_119_reasons_and_spelling_are_no_part_of_the_digest() {
    let old = permissions(&["fs:list,read ${project}", "env:read CI"]);
    let new = permissions(&[
        "env:read CI",
        "fs:read,list  ${project} follow=never",
        "env:read CI",
    ]);
    assert_eq!(digest(&old), digest(&new));
    assert!(widens(&old, &new).is_empty());
}

#[test]
fn ac_120_what_cannot_be_proven_is_wider() {
    // The same folder perhaps, but nothing here says so.
    let (home, project) = (
        permission("fs:read ${home}/**"),
        permission("fs:read ${project}/**"),
    );
    assert!(!home.contains(&project));
    let expand = |p: &Permission| p.expand(&variables()).expect("values");
    assert!(expand(&home).contains(&expand(&project)));
    assert!(!expand(&project).contains(&expand(&home)));
    // A walk that would take too long ends as not proven; the same pattern needs no walk.
    let after_a = |front: &str, n: usize| {
        permission(&format!(
            "fs:read ${{project}}{front}/**/a{}",
            "/*".repeat(n)
        ))
    };
    assert!(after_a("", 5).contains(&after_a("/x", 5)));
    assert!(!after_a("", 40).contains(&after_a("/x", 40)));
    assert!(after_a("", 40).contains(&after_a("", 40)));
}

#[test]
fn ac_123_always_needs_the_whole_text_on_the_screen() {
    assert!(permission("fs:read ${project}/src/**").shown().complete);
    assert!(!show(&"x".repeat(5_000)).complete);
    let escapes = show("net:connect \u{1b}]52;c;aGk=\u{7}");
    assert!(!escapes.complete && !escapes.text.contains(['\u{1b}', '\u{7}']));
    let long = format!(
        "fs:read ${{project}}/{}",
        vec!["x".repeat(100); 4].join("/")
    );
    assert!(!permission(&long).shown().complete);
}

#[test]
fn the_digest_is_what_sort_and_sha256sum_make_of_it() {
    let list = permissions(&[
        "net:connect API.example.com",
        "clock",
        "env:read CI",
        "clock",
    ]);
    // printf 'clock\nenv:read CI\nnet:connect api.example.com:443\n' | sha256sum
    let want = "13aa246563785c1f21e476e60aa6d2aa148a8b3907e4303ae579e96b1da4271e";
    assert_eq!(digest(&list), want);
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(digest(&[]), empty);
}

#[test]
fn variables_take_only_clean_folders() {
    for path in ["", "home", "/", "/a//b", "/a/", "/a/../b", "/a/.", "/a\0b"] {
        let error = Variables::new().with(Variable::Home, path).expect_err(path);
        assert_eq!(error.rule(), Rule::VariableValue, "{path:?}");
    }
    let error = permission("fs:read ${cache}/x")
        .expand(&variables())
        .expect_err("no value");
    assert_eq!((error.rule(), error.span()), (Rule::VariableUnset, 0..8));
    let expand = |text: &str| {
        permission(text)
            .expand(&variables())
            .expect("values")
            .to_string()
    };
    assert_eq!(expand("fs:read ${project}/*"), "fs:read /home/mo/shop/*");
    assert_eq!(
        expand("net:connect unix:${home}/x"),
        "net:connect unix:/home/mo/x"
    );
    assert_eq!(expand("exec:run ${project}/x"), "exec:run /home/mo/shop/x");
    assert_eq!(expand("exec:run git"), "exec:run git");
    let unexpanded: PathPattern = "${project}/**".parse().expect("a pattern");
    assert_eq!(
        unexpanded.matches(&"/home/mo/shop/a".parse().expect("a path")),
        None
    );
}

#[test]
fn environment_prefixes_match_whole_prefixes() {
    let Permission::Env(env) = permission("env:read GITHUB_*") else {
        panic!("an env permission")
    };
    assert!(env.name.matches("GITHUB_TOKEN") && !env.name.matches("GITHUB"));
    assert!(!EnvPattern::Name("CI".to_owned()).matches("CI_JOB"));
}

#[test]
fn a_mapped_address_is_the_address_it_hides() {
    let mapped = Host::Address("::ffff:10.0.0.1".parse().expect("an address"));
    for (network, want) in [
        ("10.0.0.0/8", true),
        ("[::/0]", false),
        ("127.0.0.1", false),
    ] {
        let Permission::Net(net) = permission(&format!("net:connect {network}")) else {
            panic!("a net permission")
        };
        let NetTarget::Endpoint(endpoint) = net.target else {
            panic!("an endpoint")
        };
        assert_eq!(endpoint.matches(&mapped, 443), want, "{network}");
    }
}
