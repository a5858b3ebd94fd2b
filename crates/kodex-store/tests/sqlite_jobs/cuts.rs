//! Every point at which a process can die while it writes: the log of the file is cut after each page
//! that an operation wrote, and within pages. What is found then is what was there before the operation
//! or what is there after it, and a store that works.

use std::{fs, path::Path};

use kodex_store::{
    Queue, Store as _,
    queue::{End, Ending, LogLine, LogStream, NewJob, Reason},
};
use rusqlite::{Connection, types::Value};

use super::{DONE, LEASE_MS, RULES, all, claim, job, open, open_with, plugin, raw};

const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + 4_096;

/// The file and its log at one moment.
#[derive(Clone, Default, PartialEq)]
struct Files {
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(folder: &Path) -> Self {
        Self {
            file: fs::read(folder.join("kodex.db")).expect("is there"),
            log: fs::read(folder.join("kodex.db-wal")).unwrap_or_default(),
        }
    }

    fn write(&self, folder: &Path) {
        fs::write(folder.join("kodex.db"), &self.file).expect("writes");
        fs::write(folder.join("kodex.db-wal"), &self.log).expect("writes");
    }

    /// What lies between this moment and a later one, in the order in which it is written.
    fn until(&self, later: &Self) -> Vec<Self> {
        let mut between = Vec::new();
        let mut at = HEADER_BYTES;
        while at < later.log.len() {
            let end = (at + FRAME_BYTES).min(later.log.len());
            let changed = self.log.get(at..end) != Some(&later.log[at..end]);
            for to in [at + FRAME_BYTES / 2, end] {
                if changed {
                    let mut log = later.log[..to.min(end)].to_vec();
                    log.extend_from_slice(self.log.get(to..).unwrap_or_default());
                    let file = self.file.clone();
                    between.push(Self { file, log });
                }
            }
            at = end;
        }
        between
    }
}

/// Everything that the tables of jobs hold, as text.
fn dump(folder: &Path) -> String {
    let db = Connection::open(folder.join("kodex.db")).expect("opens");
    let mut text = String::new();
    for table in ["jobs", "job_lines", "job_logs", "job_effects"] {
        let mut statement = db
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .expect("is there");
        let n_columns = statement.column_count();
        let mut rows = statement.query([]).expect("is read");
        while let Some(row) = rows.next().expect("is read") {
            let cells = (0..n_columns).map(|at| row.get::<_, Value>(at).expect("is a value"));
            text += &format!("{table} {:?}\n", cells.collect::<Vec<_>>());
        }
    }
    text
}

/// Does one thing after the other; `seen` is told its name when it is done.
async fn work(
    queue: &dyn Queue,
    clock: &kodex_store::suite::SuiteClock,
    mut seen: impl FnMut(&str),
) {
    let (plugin, payload) = (plugin(), raw(&format!("\"{}\"", "p".repeat(9_000))));
    let new = |id, unique_key| NewJob {
        unique_key,
        lane: Some("lane"),
        max_age_ms: Some(10 * LEASE_MS),
        ..job(id, &plugin, &payload)
    };
    let reason = Reason {
        code: "why",
        text: "because",
    };
    let ids: Vec<_> = (0..12).map(|at| format!("many {at}")).collect();
    let many: Vec<_> = ids.iter().map(|id| job(id, &plugin, &payload)).collect();
    queue.add(&[new("a", Some("key"))]).await.expect("is added");
    seen("CP01 one is added");
    queue.add(&many).await.expect("are added");
    seen("CP01 many are added");
    queue.add(&[new("b", Some("key"))]).await.expect("is there");
    seen("one is there already");
    let claimed = claim(queue, "holder", 8).await;
    seen("CP05 eight are claimed");
    let leases: Vec<_> = claimed
        .iter()
        .map(|claimed| claimed.lease.clone())
        .collect();
    queue.renew(&leases, LEASE_MS).await.expect("is renewed");
    seen("CP12 eight are renewed");
    let value = raw("1");
    queue
        .effect(&leases[0], "key", &value)
        .await
        .expect("is kept");
    seen("CP09 an effect is kept");
    let lines: Vec<_> = (0..5)
        .map(|at| LogLine {
            stream: LogStream::Out,
            text: format!("{at} {}", "x".repeat(3_000)),
        })
        .collect();
    queue.log(&leases[0], &lines).await.expect("are kept");
    seen("lines are kept");
    let go_on = Ending::GoOn {
        checkpoint: Some(&payload),
        after_ms: 0,
    };
    let retry = Ending::Retry {
        reason,
        after_ms: 50,
    };
    for (at, (name, how)) in [
        (
            "CP10 one is completed",
            Ending::Complete {
                result: Some(&*payload),
            },
        ),
        ("CP16 one is buried", Ending::Bury(reason)),
        ("CP17 one is tried again", retry),
        ("one pauses", go_on),
        ("one is blocked", Ending::Block(reason)),
    ]
    .into_iter()
    .enumerate()
    {
        let lease = &leases[at];
        assert_eq!(queue.end(&[End { lease, how }]).await, Ok(vec![true]));
        seen(name);
    }
    let ends: Vec<_> = leases[5..7]
        .iter()
        .map(|lease| End { lease, how: DONE })
        .collect();
    assert_eq!(queue.end(&ends).await, Ok(vec![true; 2]));
    seen("CP10 two are completed");
    queue.cancel(&leases[7].id).await.expect("is asked");
    seen("one is asked to end");
    clock.advance_ms(LEASE_MS);
    claim(queue, "other", 3).await;
    seen("CP05 three are claimed");
    clock.advance_ms(LEASE_MS);
    assert_eq!(queue.recover(&RULES).await.expect("sweeps").len(), 4);
    seen("CP13 four are taken back");
    queue.revive(&leases[0].id).await.expect("is revived");
    seen("one is revived");
    clock.advance_ms(10 * LEASE_MS);
    queue.recover(&RULES).await.expect("sweeps");
    seen("CP16 those that are too old are buried");
    assert!(queue.prune(u64::MAX, 100).await.expect("removes") > 0);
    seen("what ended is removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_anywhere_leaves_what_was_before_or_after() {
    let folder = tempfile::tempdir().expect("makes a folder");
    let (from, cut) = (folder.path().join("store"), folder.path().join("cut"));
    let clock = std::sync::Arc::default();
    let store = open_with(&from, &clock).await;
    // The first writes also begin the log anew; after them it only grows.
    for id in ["x", "y", "z"] {
        super::add(store.queue(), id).await.expect("is added");
    }
    let mut moments = vec![("begins".to_owned(), Files::read(&from), dump(&from))];
    work(store.queue(), &clock, |name| {
        moments.push((name.to_owned(), Files::read(&from), dump(&from)));
    })
    .await;
    store.close().await.expect("closes");
    let mut n_cuts = 0;
    for pair in moments.windows(2) {
        let [(_, earlier, before), (name, later, after)] = pair else {
            unreachable!("windows of two")
        };
        assert!(earlier.file == later.file, "{name}: the log has room");
        let between = earlier.until(later);
        let last = between.len().saturating_sub(1);
        for (at, files) in between.into_iter().enumerate() {
            let _ = fs::remove_dir_all(&cut);
            fs::create_dir(&cut).expect("makes a folder");
            files.write(&cut);
            let found = dump(&cut);
            assert!(
                found == *before || found == *after,
                "{name}, cut {at}: half of it"
            );
            assert!(at < last || found == *after, "{name}: it was done");
            n_cuts += 1;
            if at % 7 == 0 {
                let store = open(&cut).await;
                assert_eq!(store.check().await, Ok(Vec::new()), "{name}, cut {at}");
                let n_before = all(store.queue()).await.len();
                super::add(store.queue(), "new").await.expect("works");
                assert_eq!(all(store.queue()).await.len(), n_before + 1);
                store.close().await.expect("closes");
            }
        }
    }
    assert!(n_cuts > 100, "{n_cuts} cuts");
}
