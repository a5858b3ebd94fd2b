//! CP23: no room for more. A process of our own works under a limit on the size of files, so that a write
//! fails at some point of some operation; what it confirmed is there, and when there is room again the
//! store works.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use kodex_store::{Store as _, queue::End};

use super::{DONE, add, all, claim, killed, open};

const TEST: &str = "full::cp23_a_full_disk_refuses_and_loses_nothing";

#[test]
#[cfg(unix)]
fn cp23_a_full_disk_refuses_and_loses_nothing() {
    if let Some(folder) = killed::folder() {
        killed::runtime().block_on(until_full(&folder));
        return;
    }
    // Each limit falls into another operation, and into another page of it.
    for n_blocks in [420, 433, 447, 460, 474, 501, 600, 733, 900] {
        let folder = tempfile::tempdir().expect("makes a folder");
        let said = under_limit(folder.path(), n_blocks);
        assert!(said.contains("refused "), "{n_blocks}: {said}");
        assert!(!said.contains("internal"), "{n_blocks}: {said}");
        killed::runtime().block_on(look(folder.path(), &said));
    }
}

/// Runs this test as a child that may write files of so many blocks, and gives what it said.
#[expect(clippy::disallowed_methods, reason = "the test is its own child")]
fn under_limit(folder: &Path, n_blocks: u32) -> String {
    let test = std::env::current_exe().expect("is known");
    // A write beyond the limit fails instead of ending the process.
    let script =
        format!("trap '' XFSZ; ulimit -f {n_blocks}; exec \"$0\" --exact {TEST} --nocapture");
    let output = Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg(test)
        .env(killed::FOLDER, folder)
        .stderr(Stdio::null())
        .output()
        .expect("runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Adds and completes until it is refused, and then once more.
async fn until_full(folder: &Path) {
    let store = open(folder).await;
    let queue = store.queue();
    let mut n_refused = 0;
    for at in 0..2_000 {
        let id = format!("{at:05}");
        match add(queue, &id).await {
            Ok(_) => killed::say(&format!("added {id}")),
            Err(error) => {
                killed::say(&format!("refused {}", error.code()));
                n_refused += 1;
                if n_refused > 2 {
                    break;
                }
                continue;
            }
        }
        if at % 3 != 0 {
            continue;
        }
        let wish = kodex_store::queue::Claim {
            queue: super::QUEUE,
            holder: "holder",
            n: 1,
            lease_ms: super::LEASE_MS,
            caps: &[],
            plugins: None,
        };
        let Ok(claimed) = queue.claim(&wish).await else {
            continue;
        };
        for claimed in claimed {
            let lease = &claimed.lease;
            if queue.end(&[End { lease, how: DONE }]).await == Ok(vec![true]) {
                killed::say(&format!("ended {}", lease.id));
            }
        }
    }
    // What is there can be read.
    assert!(!all(queue).await.is_empty());
    killed::say("read all");
}

async fn look(folder: &Path, said: &str) {
    let store = open(folder).await;
    assert_eq!(store.check().await, Ok(Vec::new()));
    assert!(said.contains("read all"), "{said}");
    for line in said.lines() {
        if let Some(id) = line.strip_prefix("added ") {
            let found = store.queue().find(id).await.expect("looks");
            assert!(found.is_some(), "{id} was accepted");
        }
        if let Some(id) = line.strip_prefix("ended ") {
            let found = store
                .queue()
                .find(id)
                .await
                .expect("looks")
                .expect("is there");
            assert_eq!(found.state, kodex_store::queue::JobState::Completed, "{id}");
        }
    }
    add(store.queue(), "room")
        .await
        .expect("there is room again");
    assert!(!claim(store.queue(), "holder", 1).await.is_empty());
}
