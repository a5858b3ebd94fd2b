//! Values by key, one caller at a time.

use super::{
    Case, cases,
    given::{Given, raw, soon},
};
use crate::{
    StoreError,
    state::{MAX_LEASE_MS, MAX_TTL_MS, OnlyIf, VALUE_BYTES, Write, Written},
};

pub(super) const CASES: &[Case] = cases![
    a_missing_key_is_nothing,
    values_come_back_as_they_were_written,
    plugins_do_not_share_keys,
    keys_that_look_like_others_stay_inside,
    versions_rise_also_over_a_deletion,
    conditions_hold_or_nothing_changes,
    values_expire,
    an_expired_value_is_absent_for_conditions,
    limits_are_refused,
    lists_are_in_byte_order_and_paged,
    a_lock_is_held_once_and_tokens_rise,
    writes_under_a_lock_are_fenced,
    renewing_moves_the_end,
    sweeping_removes_what_expired_and_keeps_tokens_rising,
];

async fn a_missing_key_is_nothing(given: Given) {
    assert_eq!(given.value("nothing").await, None);
    let deleted = given.write("nothing", None, OnlyIf::Always).await;
    assert_eq!(deleted, Ok(Written::Done { version: 0 }));
    let keys = given.store.state().list(&given.plugin, "", None, 10).await;
    assert_eq!(keys, Ok(Vec::new()));
}

async fn values_come_back_as_they_were_written(given: Given) {
    for text in [
        "null",
        "0",
        "\"\"",
        "{\"b\" : 1,\"a\":[1.10, 1e3]}",
        "\"\\u0000 é \u{1F600}\"",
        "18446744073709551615",
    ] {
        given.set("key", text).await;
        assert_eq!(given.value("key").await.as_deref(), Some(text));
    }
}

async fn plugins_do_not_share_keys(given: Given) {
    given.set("key", "1").await;
    assert_eq!(given.value_of(&given.other, "key").await, None);
    let mut other = given.clone();
    other.plugin = given.other.clone();
    other.set("key", "2").await;
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
    other
        .write("key", None, OnlyIf::Always)
        .await
        .expect("deletes");
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
}

async fn keys_that_look_like_others_stay_inside(given: Given) {
    let keys = [
        format!("kodex:{}:key", given.other),
        "session:1".to_owned(),
        "../other/key".to_owned(),
        "%".to_owned(),
        "_".to_owned(),
        " key".to_owned(),
        "'; DROP TABLE state; --".to_owned(),
    ];
    for (at, key) in keys.iter().enumerate() {
        given.set(key, &at.to_string()).await;
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(given.value(key).await, Some(at.to_string()), "{key}");
        assert_eq!(given.value_of(&given.other, key).await, None, "{key}");
    }
}

async fn versions_rise_also_over_a_deletion(given: Given) {
    let first = given.set("key", "1").await;
    let second = given.set("key", "2").await;
    assert!(second > first && first > 0, "{first} {second}");
    let deleted = given.write("key", None, OnlyIf::Version(second)).await;
    assert_eq!(deleted, Ok(Written::Done { version: second }));
    let third = given.set("key", "3").await;
    assert!(third > second, "{second} {third}");
    let entry = given.store.state().read(&given.plugin, "key").await;
    assert_eq!(
        entry.expect("reads").map(|entry| entry.version),
        Some(third)
    );
}

async fn conditions_hold_or_nothing_changes(given: Given) {
    let first = match given.write("key", Some("1"), OnlyIf::Absent).await {
        Ok(Written::Done { version }) => version,
        other => panic!("{other:?}"),
    };
    let refused = Ok(Written::Refused { version: first });
    for (value, only_if) in [
        (Some("2"), OnlyIf::Absent),
        (Some("2"), OnlyIf::Version(first + 1)),
        (Some("2"), OnlyIf::Version(0)),
        (None, OnlyIf::Version(first + 1)),
        (None, OnlyIf::Absent),
    ] {
        assert_eq!(
            given.write("key", value, only_if).await,
            refused,
            "{only_if:?}"
        );
        assert_eq!(given.value("key").await.as_deref(), Some("1"));
    }
    let missing = given.write("missing", Some("2"), OnlyIf::Version(7)).await;
    assert_eq!(missing, Ok(Written::Refused { version: 0 }));
    assert_eq!(given.value("missing").await, None);
    let done = given.write("key", Some("2"), OnlyIf::Version(first)).await;
    assert!(
        matches!(done, Ok(Written::Done { version }) if version > first),
        "{done:?}"
    );
}

async fn values_expire(given: Given) {
    given
        .write_with("key", Some("1"), Some(1_000), OnlyIf::Always, None)
        .await
        .expect("writes");
    let entry = given.store.state().read(&given.plugin, "key").await;
    let expires = entry.expect("reads").and_then(|entry| entry.expires_at_ms);
    assert_eq!(
        expires,
        Some(kodex_plugin::Clock::unix_ms(&*given.clock) + 1_000)
    );
    given.clock.advance_ms(999);
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
    given.clock.advance_ms(1);
    assert_eq!(given.value("key").await, None);
    let keys = given.store.state().list(&given.plugin, "", None, 10).await;
    assert_eq!(keys, Ok(Vec::new()));
    given.set("lasting", "2").await;
    given.clock.advance_ms(MAX_TTL_MS);
    assert_eq!(given.value("lasting").await.as_deref(), Some("2"));
}

async fn an_expired_value_is_absent_for_conditions(given: Given) {
    let write = |only_if| given.write_with("key", Some("1"), Some(10), only_if, None);
    let Ok(Written::Done { version }) = write(OnlyIf::Absent).await else {
        panic!("the first write is done");
    };
    given.clock.advance_ms(10);
    let late = write(OnlyIf::Version(version)).await;
    assert_eq!(late, Ok(Written::Refused { version: 0 }));
    let again = write(OnlyIf::Absent).await;
    assert!(
        matches!(again, Ok(Written::Done { version: next }) if next > version),
        "{again:?}"
    );
    given.clock.advance_ms(10);
    let deleted = given.write("key", None, OnlyIf::Always).await;
    assert_eq!(deleted, Ok(Written::Done { version: 0 }));
}

async fn limits_are_refused(given: Given) {
    let long = "k".repeat(513);
    let fits = "é".repeat(512);
    for (key, want) in [
        ("", "state.key"),
        (" \t", "state.key"),
        (long.as_str(), "state.key"),
        ("a\0b", "state.key"),
        (fits.as_str(), "ok"),
    ] {
        let write = given.write(key, Some("1"), OnlyIf::Always).await;
        assert_eq!(
            write.as_ref().map_or_else(StoreError::code, |_| "ok"),
            want,
            "{key:?}"
        );
        let read = given.store.state().read(&given.plugin, key).await;
        assert_eq!(
            read.as_ref().map_or_else(StoreError::code, |_| "ok"),
            want,
            "{key:?}"
        );
    }
    let most = format!("\"{}\"", "x".repeat(VALUE_BYTES - 2));
    given.set("large", &most).await;
    assert_eq!(given.value("large").await, Some(most.clone()));
    let over = format!("\"x{}", &most[1..]);
    let refused = given.write("large", Some(&over), OnlyIf::Always).await;
    assert_eq!(refused.expect_err("is refused").code(), "state.too_large");
    assert_eq!(given.value("large").await, Some(most));
    for ttl_ms in [0, MAX_TTL_MS + 1] {
        let refused = given
            .write_with("key", Some("1"), Some(ttl_ms), OnlyIf::Always, None)
            .await;
        assert_eq!(refused.expect_err("is refused").code(), "state.ttl");
    }
    for ttl_ms in [0, MAX_LEASE_MS + 1] {
        let refused = given.store.state().lock(&given.plugin, "key", ttl_ms).await;
        assert_eq!(refused.expect_err("is refused").code(), "state.ttl");
    }
}

async fn lists_are_in_byte_order_and_paged(given: Given) {
    let keys = [
        "a", "a/", "a/1", "a/10", "a/2", "a0", "a_", "a%", "B", "é", "a/ü",
    ];
    for key in keys {
        given.set(key, "[1]").await;
    }
    let list = |prefix: &'static str, after: Option<&'static str>, limit| {
        let given = given.clone();
        async move {
            let keys = given
                .store
                .state()
                .list(&given.plugin, prefix, after, limit)
                .await;
            keys.expect("lists")
                .into_iter()
                .map(|key| key.key)
                .collect::<Vec<_>>()
        }
    };
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(list("", None, 100).await, sorted);
    assert_eq!(
        list("a/", None, 100).await,
        ["a/", "a/1", "a/10", "a/2", "a/ü"]
    );
    assert_eq!(list("a/", Some("a/1"), 2).await, ["a/10", "a/2"]);
    assert_eq!(list("a%", None, 100).await, ["a%"]);
    assert_eq!(list("a_", None, 100).await, ["a_"]);
    assert_eq!(list("", None, 0).await, [""; 0]);
    let found = given
        .store
        .state()
        .list(&given.plugin, "B", None, 1)
        .await
        .expect("lists");
    assert_eq!((found[0].bytes, found[0].expires_at_ms), (3, None));
}

async fn a_lock_is_held_once_and_tokens_rise(given: Given) {
    let state = given.store.state();
    let first = state
        .lock(&given.plugin, "lock", 1_000)
        .await
        .expect("locks");
    let held = state.lock(&given.plugin, "lock", 1_000).await;
    assert!(
        matches!(&held, Err(StoreError::Locked { key, .. }) if key == "lock"),
        "{held:?}"
    );
    let elsewhere = state
        .lock(&given.other, "lock", 1_000)
        .await
        .expect("is another lock");
    assert_eq!(state.unlock(&given.other, &elsewhere).await, Ok(true));
    assert_eq!(state.unlock(&given.plugin, &first).await, Ok(true));
    assert_eq!(state.unlock(&given.plugin, &first).await, Ok(false));
    let second = state
        .lock(&given.plugin, "lock", 1_000)
        .await
        .expect("locks again");
    assert!(second.token > first.token);
    given.clock.advance_ms(1_000);
    assert_eq!(
        state.unlock(&given.plugin, &second).await,
        Ok(false),
        "it ran out"
    );
    let third = state
        .lock(&given.plugin, "lock", 1_000)
        .await
        .expect("is free");
    assert!(third.token > second.token);
    assert_eq!(state.unlock(&given.plugin, &second).await, Ok(false));
    assert_eq!(state.unlock(&given.plugin, &third).await, Ok(true));
    given.set("lock", "1").await;
    assert_eq!(
        given.value("lock").await.as_deref(),
        Some("1"),
        "keys of locks are apart"
    );
}

async fn writes_under_a_lock_are_fenced(given: Given) {
    let state = given.store.state();
    let old = state.lock(&given.plugin, "lock", 100).await.expect("locks");
    let done = given
        .write_with("key", Some("1"), None, OnlyIf::Always, Some(&old))
        .await;
    assert!(matches!(done, Ok(Written::Done { .. })), "{done:?}");
    given.clock.advance_ms(100);
    let late = given
        .write_with("key", Some("2"), None, OnlyIf::Always, Some(&old))
        .await;
    assert_eq!(late.expect_err("ran out").code(), "state.lease_lost");
    let new = state.lock(&given.plugin, "lock", 100).await.expect("locks");
    for value in [Some("2"), None] {
        let zombie = given
            .write_with("key", value, None, OnlyIf::Always, Some(&old))
            .await;
        assert_eq!(zombie.expect_err("is fenced").code(), "state.lease_lost");
    }
    assert_eq!(given.value("key").await.as_deref(), Some("1"));
    let done = given
        .write_with("key", Some("3"), None, OnlyIf::Always, Some(&new))
        .await;
    assert!(matches!(done, Ok(Written::Done { .. })), "{done:?}");
    let mut other = given.clone();
    other.plugin = given.other.clone();
    let foreign = other
        .write_with("key", Some("4"), None, OnlyIf::Always, Some(&new))
        .await;
    assert_eq!(
        foreign.expect_err("is another plugin's").code(),
        "state.lease_lost"
    );
}

async fn renewing_moves_the_end(given: Given) {
    let state = given.store.state();
    let first = state.lock(&given.plugin, "lock", 100).await.expect("locks");
    given.clock.advance_ms(60);
    let renewed = state
        .renew(&given.plugin, &first, 100)
        .await
        .expect("renews");
    assert_eq!(renewed.token, first.token);
    assert_eq!(renewed.until_ms, first.until_ms + 60);
    given.clock.advance_ms(60);
    let held = state.lock(&given.plugin, "lock", 100).await;
    assert_eq!(held.expect_err("is held").code(), "state.locked");
    given.clock.advance_ms(40);
    let late = state.renew(&given.plugin, &renewed, 100).await;
    assert_eq!(late.expect_err("ran out").code(), "state.lease_lost");
}

async fn sweeping_removes_what_expired_and_keeps_tokens_rising(given: Given) {
    let state = given.store.state();
    while soon(state.sweep(1_000)).await.expect("sweeps") > 0 {}
    for at in 0..5 {
        let key = format!("key{at}");
        let write = Write {
            key: &key,
            value: Some(&raw("1")),
            ttl_ms: Some(10),
            only_if: OnlyIf::Always,
            under: None,
        };
        state.write(&given.plugin, &write).await.expect("writes");
    }
    given.set("lasting", "1").await;
    let lease = state.lock(&given.plugin, "lock", 10).await.expect("locks");
    assert_eq!(soon(state.sweep(100)).await, Ok(0));
    given.clock.advance_ms(10);
    let mut n_gone = soon(state.sweep(2)).await.expect("sweeps");
    assert!(n_gone <= 2, "{n_gone}");
    n_gone += soon(state.sweep(100)).await.expect("sweeps");
    assert!((5..=6).contains(&n_gone), "{n_gone}");
    assert_eq!(given.value("lasting").await.as_deref(), Some("1"));
    let next = state.lock(&given.plugin, "lock", 10).await.expect("locks");
    assert!(next.token > lease.token);
}
