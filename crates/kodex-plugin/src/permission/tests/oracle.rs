//! Containment, matching and the normal form against slow and obvious implementations.

use std::net::{IpAddr, Ipv4Addr};

use proptest::{prelude::*, sample::select};

use super::{permission, texts};
use crate::{
    Permission,
    permission::{Endpoint, Host, NetTarget, Pattern, Segment, digest, widens},
};

/// Whether the names match, by trying every way to use up a `**`.
fn matches(segments: &[Segment], names: &[&str]) -> bool {
    let Some((first, rest)) = segments.split_first() else {
        return names.is_empty();
    };
    match first {
        Segment::AnyDepth => (0..=names.len()).any(|n| matches(rest, &names[n..])),
        Segment::Any => !names.is_empty() && matches(rest, &names[1..]),
        Segment::OneOf(some) => {
            names.first().is_some_and(|name| some.contains(*name)) && matches(rest, &names[1..])
        }
    }
}

/// Every sequence of at most `longest` names. `z` is in no pattern.
fn sequences(longest: usize) -> Vec<Vec<&'static str>> {
    let mut all = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..longest {
        let longer = last
            .iter()
            .flat_map(|names| ["a", "b", "z"].map(|name| [names.as_slice(), &[name]].concat()));
        last = longer.collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn segment() -> impl Strategy<Value = Segment> {
    let names = |names: &[&str]| Segment::OneOf(names.iter().map(|n| (*n).to_owned()).collect());
    prop_oneof![
        3 => Just(names(&["a"])),
        2 => Just(names(&["b"])),
        1 => Just(names(&["a", "b"])),
        2 => Just(Segment::Any),
        2 => Just(Segment::AnyDepth),
    ]
}

fn segments() -> impl Strategy<Value = Vec<Segment>> {
    prop::collection::vec(segment(), 0..5)
}

fn endpoint(text: &str) -> Endpoint {
    match permission(text) {
        Permission::Net(net) => match net.target {
            NetTarget::Endpoint(endpoint) => endpoint,
            NetTarget::Unix(path) => panic!("{path} is a socket"),
        },
        other => panic!("{other} is no net permission"),
    }
}

const HOSTS: &[&str] = &[
    "*",
    "*.x.example",
    "*.y.x.example",
    "x.example",
    "y.x.example",
    "z.y.x.example",
    "ax.example",
    "localhost",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.128.0.0/9",
    "10.1.0.0/16",
    "10.1.2.0/30",
    "10.1.2.3",
    "10.1.2.2/31",
    "127.0.0.1",
    "[::/0]",
    "[fd00::/8]",
    "[fd00::/16]",
    "[fd12::/16]",
    "[fd12::1]",
];

const PORTS: &[&str] = &["", ":80", ":443", ":80-90", ":85-443", ":*"];

/// Concrete hosts at the borders of the patterns above.
fn concrete() -> Vec<Host> {
    let names = [
        "x.example",
        "y.x.example",
        "z.y.x.example",
        "w.z.y.x.example",
        "ax.example",
        "example",
        "localhost",
    ];
    let addresses = [
        "0.0.0.0",
        "9.255.255.255",
        "10.0.0.0",
        "10.1.1.255",
        "10.1.2.0",
        "10.1.2.1",
        "10.1.2.2",
        "10.1.2.3",
        "10.1.2.4",
        "10.127.255.255",
        "10.128.0.0",
        "10.255.255.255",
        "11.0.0.0",
        "127.0.0.1",
        "[::]",
        "[fcff::1]",
        "[fd00::]",
        "[fd12::]",
        "[fd12::1]",
        "[fd12:ffff::]",
        "[fe00::]",
    ];
    names
        .iter()
        .chain(&addresses)
        .map(|text| text.parse().expect("a host"))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn patterns_match_like_the_oracle(segments in segments()) {
        let pattern = Pattern::new(segments.clone());
        for names in sequences(5) {
            prop_assert_eq!(pattern.matches(&names), matches(&segments, &names), "{:?} on {:?}", segments, names);
        }
    }

    // Short patterns differ on short names, so the answer must be exact in both directions.
    #[test]
    fn containment_is_what_the_oracle_sees(wide in segments(), narrow in segments()) {
        let is_contained = sequences(7).iter().all(|names| !matches(&narrow, names) || matches(&wide, names));
        prop_assert_eq!(Pattern::new(wide.clone()).contains(&Pattern::new(narrow.clone())), is_contained);
    }

    #[test]
    fn splitting_keeps_every_match(segments in segments()) {
        let pattern = Pattern::new(segments);
        let split = pattern.split();
        for names in sequences(5) {
            let in_parts = split.iter().any(|part| part.matches(&names));
            prop_assert_eq!(pattern.matches(&names), in_parts);
        }
    }

    #[test]
    fn the_normal_form_reads_back_as_itself(text in texts::text()) {
        let read = text.parse::<Permission>();
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        let normal = read.to_string();
        prop_assert_eq!(&permission(&normal), &read, "{} to {}", text, normal);
        prop_assert_eq!(permission(&normal).to_string(), normal);
    }

    #[test]
    fn equal_texts_and_equal_values_are_the_same(one in texts::text(), two in texts::text()) {
        let (one, two) = (permission(&one), permission(&two));
        prop_assert_eq!(one == two, one.to_string() == two.to_string());
        prop_assert_eq!(digest(&[one.clone(), two.clone()]), digest(&[two.clone(), one.clone(), two]));
    }

    #[test]
    fn everything_contains_itself(text in texts::text()) {
        let one = permission(&text);
        prop_assert!(one.contains(&one), "{}", one);
        prop_assert!(widens(std::slice::from_ref(&one), std::slice::from_ref(&one)).is_empty());
    }

    // Drawn from few parts, so that chains of three are found often enough.
    #[test]
    fn containment_is_transitive(some in prop::collection::vec(texts::text(), 12)) {
        let some: Vec<_> = some.iter().map(|text| permission(text)).collect();
        for (one, two) in some.iter().flat_map(|one| some.iter().map(move |two| (one, two))) {
            for three in some.iter().filter(|three| one.contains(two) && two.contains(three)) {
                prop_assert!(one.contains(three), "{one} > {two} > {three}");
            }
        }
    }

    // Whatever an editor, a file system or an attacker makes of a text, it is read or refused.
    #[test]
    fn damaged_texts_are_refused_with_a_place_inside(
        text in texts::text(),
        at in any::<prop::sample::Index>(),
        put in select(vec!["", "*", "\"", "\\", "{", "}", "[", "]", ",", "=", "/", ":", " ", "..", "\0", "\u{202e}", "\u{e9}", "$", "@", "%", "a"]),
        n_cut in 0_usize..3,
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        let from = at.index(chars.len() + 1);
        let to = (from + n_cut).min(chars.len());
        chars.splice(from..to, put.chars());
        let damaged: String = chars.into_iter().collect();
        match damaged.parse::<Permission>() {
            Ok(read) => prop_assert_eq!(&permission(&read.to_string()), &read),
            Err(error) => prop_assert!(damaged.get(error.span()).is_some(), "{:?} in {:?}", error.span(), damaged),
        }
    }

    #[test]
    fn noise_never_panics(text in "\\PC*") {
        if let Err(error) = text.parse::<Permission>() {
            prop_assert!(text.get(error.span()).is_some());
        }
    }

    #[test]
    fn addresses_are_masked_like_bit_strings(bits in any::<u32>(), prefix in 0_u32..=32, other in any::<u32>()) {
        let string = |bits: u32| format!("{bits:032b}")[..prefix as usize].to_owned();
        let first = if prefix == 0 { 0 } else { bits >> (32 - prefix) << (32 - prefix) };
        let text = format!("net:connect {}/{prefix}", Ipv4Addr::from_bits(first));
        for candidate in [other, first, first ^ 1, first | 1 << 31, bits] {
            let host = Host::Address(IpAddr::V4(Ipv4Addr::from_bits(candidate)));
            prop_assert_eq!(endpoint(&text).host.matches(&host), string(candidate) == string(first));
        }
    }
}

/// Sound always; exact except for `*` against names that the table of hosts does not know.
#[test]
fn hosts_and_ports_contain_what_they_match() {
    let concrete = concrete();
    let endpoints: Vec<Endpoint> = HOSTS
        .iter()
        .flat_map(|host| {
            PORTS
                .iter()
                .map(move |port| endpoint(&format!("net:connect {host}{port}")))
        })
        .collect();
    let ports = [1, 79, 80, 81, 85, 90, 91, 443, 444, 65535];
    for wide in &endpoints {
        for narrow in &endpoints {
            let is_contained = concrete.iter().all(|host| {
                let fits = |port: &u16| !narrow.matches(host, *port) || wide.matches(host, *port);
                ports.iter().all(fits)
            });
            assert_eq!(wide.contains(narrow), is_contained, "{wide} and {narrow}");
        }
    }
}
