//! CP01, CP02, CP05, CP06, CP09 to CP13, CP16, CP17, CP20: a process of our own that adds, takes and ends jobs until
//! it is killed, again and again on one store, and the look at what it left.
//!
//! It prints a line for everything that was confirmed. What was confirmed must be so afterwards; what it
//! held is taken back and done, and nothing is done twice under one token.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use kodex_store::{
    Store as _,
    queue::{Effect, End, Ending, JobState, LogLine, LogStream, Reason},
    suite::SuiteClock,
};

use super::{DONE, LEASE_MS, RULES, add, all, claim, open, open_with, raw};

/// Tells a process of this test that it is the one to die, and in which folder.
pub(super) const FOLDER: &str = "KODEX_STORE_TEST_JOBS";
const TEST: &str = "killed::a_worker_that_is_killed_anywhere_loses_nothing";

#[expect(
    clippy::disallowed_methods,
    reason = "it is how the test tells its own child what it is"
)]
pub(super) fn folder() -> Option<PathBuf> {
    let found = std::env::vars_os().find(|(name, _)| name == FOLDER);
    found.map(|(_, folder)| folder.into())
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("starts")
}

pub(super) fn say(line: &str) {
    // The parent reads until it kills this process; a pipe without a reader is the end as well.
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

#[test]
fn a_worker_that_is_killed_anywhere_loses_nothing() {
    if let Some(folder) = folder() {
        runtime().block_on(work(&folder));
        return;
    }
    let folder = tempfile::tempdir().expect("makes a folder");
    let mut confirmed = Confirmed::default();
    for (at, n_lines) in [1, 2, 3, 5, 9, 16, 27, 55, 130, 400, 900]
        .into_iter()
        .enumerate()
    {
        let mut child = start(folder.path(), at);
        let out = child.stdout.take().expect("is piped");
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        let mut n_seen = 0;
        for line in lines.by_ref() {
            n_seen += usize::from(confirmed.take(&line));
            if n_seen >= n_lines {
                break;
            }
        }
        child.kill().expect("is killed");
        child.wait().expect("is gone");
        // What it could say before it died counts too.
        for line in lines {
            confirmed.take(&line);
        }
        assert!(n_seen >= n_lines, "{n_seen} of {n_lines} lines came");
        runtime().block_on(look(folder.path(), &confirmed));
    }
    runtime().block_on(finish(folder.path(), &mut confirmed));
}

#[expect(clippy::disallowed_methods, reason = "the test is its own child")]
fn start(folder: &Path, life: usize) -> Child {
    let test = std::env::current_exe().expect("is known");
    Command::new(test)
        .args(["--exact", TEST, "--nocapture"])
        .env(FOLDER, folder)
        .env("KODEX_STORE_TEST_LIFE", life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// What processes said that they were told.
#[derive(Default)]
struct Confirmed {
    added: BTreeSet<String>,
    tokens: BTreeMap<String, u64>,
    ended: BTreeMap<String, String>,
    effects: BTreeMap<String, String>,
}

impl Confirmed {
    fn take(&mut self, line: &str) -> bool {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        match words.as_slice() {
            [what, id] if what == "added" => {
                self.added.insert(id.clone());
            }
            [what, id, token] if what == "claimed" => {
                let token = token.parse().expect("is a number");
                let last = self.tokens.insert(id.clone(), token);
                assert!(
                    last.is_none_or(|last| last < token),
                    "{id}: {last:?} {token}"
                );
                assert!(!self.ended.contains_key(id), "{id} was over");
            }
            [what, id, value] if what == "effect" => {
                let first = self
                    .effects
                    .entry(id.clone())
                    .or_insert_with(|| value.clone());
                assert_eq!(first, value, "{id}: an effect happens once");
            }
            [what, id, state] if what == "ended" => {
                let before = self.ended.insert(id.clone(), state.clone());
                assert_eq!(before, None, "{id} ends once");
            }
            _ => return false,
        }
        true
    }
}

/// Adds two, takes back what a dead one held, works on two, and so on.
async fn work(folder: &Path) {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is how the test tells its own child what it is"
    )]
    let life: u64 = std::env::var("KODEX_STORE_TEST_LIFE")
        .ok()
        .and_then(|life| life.parse().ok())
        .expect("is told");
    let clock = Arc::new(SuiteClock::default());
    // Later than everything that was held in the life before.
    clock.advance_ms((life + 1) * 2 * LEASE_MS);
    let store = open_with(folder, &clock).await;
    let queue = store.queue();
    for turn in 0.. {
        for at in 0..2 {
            let id = format!("{life}-{turn}-{at}");
            add(queue, &id).await.expect("is added");
            say(&format!("added {id}"));
        }
        queue.recover(&RULES).await.expect("sweeps");
        for (at, claimed) in claim(queue, "worker", 2).await.into_iter().enumerate() {
            let lease = &claimed.lease;
            let id = &lease.id;
            say(&format!("claimed {id} {}", lease.token));
            let value = raw(&format!("{}", life * 1_000_000 + turn));
            let happened = match queue.effect(lease, "key", &value).await.expect("is kept") {
                Effect::First => value.get().to_owned(),
                Effect::Again(first) => first.get().to_owned(),
                Effect::Lost => panic!("it is held"),
            };
            say(&format!("effect {id} {happened}"));
            let line = LogLine {
                stream: LogStream::Out,
                text: format!("life {life}, turn {turn}"),
            };
            queue.log(lease, &[line]).await.expect("is kept");
            queue
                .renew(std::slice::from_ref(lease), LEASE_MS)
                .await
                .expect("is renewed");
            let reason = Reason {
                code: "why",
                text: "because",
            };
            let (how, state) = match (turn + at as u64) % 5 {
                0 => (Ending::Release { after_ms: 0 }, None),
                1 => (
                    Ending::Retry {
                        reason,
                        after_ms: 0,
                    },
                    None,
                ),
                2 => (Ending::Bury(reason), Some(JobState::Dead)),
                _ => (DONE, Some(JobState::Completed)),
            };
            let ended = queue.end(&[End { lease, how }]).await;
            assert_eq!(ended, Ok(vec![true]));
            if let Some(state) = state {
                say(&format!("ended {id} {}", state.as_str()));
            }
        }
    }
}

async fn look(folder: &Path, confirmed: &Confirmed) {
    let store = open(folder).await;
    assert_eq!(store.check().await, Ok(Vec::new()));
    for id in &confirmed.added {
        let job = store.queue().find(id).await.expect("is read");
        let job = job.unwrap_or_else(|| panic!("{id} was accepted"));
        let token = confirmed.tokens.get(id).copied().unwrap_or(0);
        // One claim, whose answer nobody heard, may have come after the last that was said.
        assert!(job.token >= token, "{id}: {} {token}", job.token);
        if let Some(state) = confirmed.ended.get(id) {
            assert_eq!(job.state.as_str(), state, "{id}");
            assert_eq!(job.token, token, "{id}");
        }
        if confirmed.effects.contains_key(id) {
            let lines = store.queue().logs(id, 0, 10_000).await.expect("are read");
            assert!(lines.is_sorted_by_key(|line| line.number), "{id}");
        }
    }
    store.close().await.expect("closes");
}

/// Whoever comes last finishes everything.
async fn finish(folder: &Path, confirmed: &mut Confirmed) {
    let clock = Arc::new(SuiteClock::default());
    clock.advance_ms(1_000 * LEASE_MS);
    let store = open_with(folder, &clock).await;
    let queue = store.queue();
    let n_all = queue
        .counts()
        .await
        .expect("counts")
        .iter()
        .map(|count| count.n)
        .sum::<u64>();
    queue.recover(&RULES).await.expect("sweeps");
    let counts = queue.counts().await.expect("counts");
    assert!(
        counts.iter().all(|count| count.state != JobState::Running),
        "{counts:?}"
    );
    loop {
        let claimed = claim(queue, "last", 100).await;
        if claimed.is_empty() {
            break;
        }
        for claimed in &claimed {
            let lease = &claimed.lease;
            confirmed.take(&format!("claimed {} {}", lease.id, lease.token));
            let value = raw("-1");
            let happened = queue.effect(lease, "key", &value).await.expect("is kept");
            if let (Effect::First, Some(said)) = (&happened, confirmed.effects.get(&lease.id)) {
                panic!("{}: the effect {said} was lost", lease.id);
            }
            assert_eq!(queue.end(&[End { lease, how: DONE }]).await, Ok(vec![true]));
        }
    }
    let counts = queue.counts().await.expect("counts");
    let over = |state: JobState| matches!(state, JobState::Completed | JobState::Dead);
    assert!(counts.iter().all(|count| over(count.state)), "{counts:?}");
    assert_eq!(counts.iter().map(|count| count.n).sum::<u64>(), n_all);
    assert!(n_all >= confirmed.added.len() as u64);
    assert!(!all(queue).await.is_empty());
}
