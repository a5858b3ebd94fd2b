//! Many callers of state at once: one winner, no lost update.

use super::{
    Case, cases,
    given::{Given, soon, spawn},
};
use crate::state::{OnlyIf, Written};

pub(super) const CASES: &[Case] = cases![
    one_of_eight_sets_an_absent_key,
    no_update_is_lost,
    one_of_eight_takes_a_lock,
    versions_are_given_once,
];

const N_CALLERS: u64 = 8;

async fn one_of_eight_sets_an_absent_key(given: Given) {
    for round in 0..20 {
        let callers: Vec<_> = (0..N_CALLERS)
            .map(|caller| {
                let given = given.clone();
                spawn(async move {
                    let (key, value) = (format!("key{round}"), caller.to_string());
                    given.write(&key, Some(&value), OnlyIf::Absent).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        for (caller, task) in callers.into_iter().enumerate() {
            match soon(task).await.expect("the caller ends") {
                Ok(Written::Done { .. }) => winners.push(caller),
                Ok(Written::Refused { version }) => assert_ne!(version, 0),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let value = given.value(&format!("key{round}")).await;
        assert_eq!(value, Some(winners[0].to_string()));
    }
}

async fn no_update_is_lost(given: Given) {
    const N_EACH: u64 = 15;
    given.set("count", "0").await;
    let callers: Vec<_> = (0..N_CALLERS)
        .map(|_| {
            let given = given.clone();
            spawn(async move {
                for _ in 0..N_EACH {
                    add_one(&given).await;
                }
            })
        })
        .collect();
    for caller in callers {
        soon(caller).await.expect("the caller ends");
    }
    let want = (N_CALLERS * N_EACH).to_string();
    assert_eq!(given.value("count").await, Some(want));
}

async fn add_one(given: &Given) {
    loop {
        let entry = given.store.state().read(&given.plugin, "count").await;
        let entry = entry.expect("reads").expect("is there");
        let count: u64 = entry.value.get().parse().expect("is a number");
        let next = (count + 1).to_string();
        let written = given
            .write("count", Some(&next), OnlyIf::Version(entry.version))
            .await;
        if matches!(written.expect("writes"), Written::Done { .. }) {
            return;
        }
    }
}

async fn one_of_eight_takes_a_lock(given: Given) {
    let mut last = 0;
    for round in 0..10 {
        let callers: Vec<_> = (0..N_CALLERS)
            .map(|_| {
                let given = given.clone();
                spawn(async move {
                    given
                        .store
                        .state()
                        .lock(&given.plugin, "lock", 60_000)
                        .await
                })
            })
            .collect();
        let mut taken = Vec::new();
        for caller in callers {
            match soon(caller).await.expect("the caller ends") {
                Ok(lease) => taken.push(lease),
                Err(error) => assert_eq!(error.code(), "state.locked"),
            }
        }
        assert_eq!(taken.len(), 1, "round {round}");
        assert!(taken[0].token > last);
        last = taken[0].token;
        given
            .store
            .state()
            .unlock(&given.plugin, &taken[0])
            .await
            .expect("unlocks");
    }
}

async fn versions_are_given_once(given: Given) {
    let callers: Vec<_> = (0..N_CALLERS)
        .map(|caller| {
            let given = given.clone();
            spawn(async move {
                let mut versions = Vec::new();
                for at in 0..20 {
                    versions.push(given.set(&format!("key{caller}-{}", at % 3), "1").await);
                }
                assert!(versions.is_sorted(), "{versions:?}");
                versions
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.extend(soon(caller).await.expect("the caller ends"));
    }
    all.sort_unstable();
    let n_all = all.len();
    all.dedup();
    assert_eq!(all.len(), n_all, "no version twice");
}
