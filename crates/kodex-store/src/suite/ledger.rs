//! Steps and their rows: one transaction, the right order, nothing twice.

use kodex_plugin::Clock;

use super::{
    Case, cases,
    given::{Given, code, n_rows, run, soon, spawn, step, texts},
};
use crate::{
    Access, StoreError,
    journal::{Progress, plan},
};

pub(super) const CASES: &[Case] = cases![
    an_empty_ledger_is_empty_and_makes_nothing,
    a_step_and_its_row_appear_together,
    a_failing_step_leaves_no_trace,
    a_step_cannot_end_its_transaction,
    a_step_stays_inside_its_namespace,
    the_newest_step_must_be_the_planned_one,
    of_two_upgrades_one_applies,
    a_data_step_is_recorded_and_its_progress_ends,
    progress_is_kept_by_step,
    a_step_outside_a_transaction,
    plugins_have_ledgers_of_their_own,
    the_plan_goes_on_from_the_ledger,
];

const FIRST: &str = "-- notes\nCREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT);\nCREATE INDEX by_text ON notes (text);\nINSERT INTO notes VALUES (1, 'a; b');\n";

async fn an_empty_ledger_is_empty_and_makes_nothing(given: Given) {
    let ledger = given.store.ledger();
    assert_eq!(soon(ledger.applied(&given.plugin)).await, Ok(Vec::new()));
    let progress = soon(ledger.progress(&given.plugin, "plugin:x/0001_a.sql")).await;
    assert_eq!(progress, Ok(None));
    let plugins = given.store.plugins().await.expect("lists");
    assert!(!plugins.contains(&given.plugin));
}

async fn a_step_and_its_row_appear_together(given: Given) {
    let step = step("0001_notes.sql", FIRST);
    let ledger = given.store.ledger();
    let applied = soon(ledger.apply(&given.plugin, &step, None))
        .await
        .expect("applies");
    assert_eq!(
        applied.id,
        format!("plugin:{}/0001_notes.sql", given.plugin)
    );
    assert_eq!(applied.checksum, step.checksum);
    assert_eq!(applied.checksum.len(), 64);
    assert_eq!(applied.applied_at_ms, given.clock.unix_ms());
    assert_eq!(soon(ledger.applied(&given.plugin)).await, Ok(vec![applied]));
    let space = given.space(Access::Write).await;
    assert_eq!(
        texts(&run(&*space, "SELECT text FROM notes").await),
        ["a; b"]
    );
}

async fn a_failing_step_leaves_no_trace(given: Given) {
    let newest = given.apply(&[step("0001_notes.sql", FIRST)]).await;
    let ledger = given.store.ledger();
    for text in [
        "CREATE TABLE more (id BIGINT); INSERT INTO more VALUES (1); INSERT INTO nothing VALUES (1);",
        "CREATE TABLE more (id BIGINT); SELEC 1;",
        "CREATE TABLE more (id BIGINT); INSERT INTO notes VALUES (1, 'again');",
        "CREATE TABLE more (id BIGINT); DELETE FROM kodex_journal;",
    ] {
        let broken = step("0002_more.sql", text);
        let error = soon(ledger.apply(&given.plugin, &broken, newest.as_deref())).await;
        let error = error.expect_err("fails");
        assert!(
            matches!(error.code(), "db.sql" | "db.constraint" | "db.refused"),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(given.plugin.as_str()), "{error}");
        let applied = soon(ledger.applied(&given.plugin)).await.expect("reads");
        assert_eq!(applied.len(), 1, "{text}");
        let space = given.space(Access::Read).await;
        assert_eq!(
            code(&*space, "SELECT * FROM more").await,
            "db.sql",
            "{text}"
        );
    }
    let mended = step("0002_more.sql", "CREATE TABLE more (id BIGINT);");
    soon(ledger.apply(&given.plugin, &mended, newest.as_deref()))
        .await
        .expect("goes on");
}

async fn a_step_cannot_end_its_transaction(given: Given) {
    let ledger = given.store.ledger();
    for ending in [
        "COMMIT",
        "ROLLBACK",
        "END",
        "BEGIN",
        "SAVEPOINT x",
        "ROLLBACK; BEGIN",
    ] {
        let text =
            format!("CREATE TABLE gone (id BIGINT); {ending}; CREATE TABLE gone2 (id BIGINT);");
        let error = soon(ledger.apply(&given.plugin, &step("0001_a.sql", &text), None)).await;
        let error = error.expect_err("is refused");
        assert!(
            matches!(error.code(), "db.refused" | "db.sql" | "db.statement"),
            "{ending}: {error}"
        );
        assert_eq!(
            soon(ledger.applied(&given.plugin)).await,
            Ok(Vec::new()),
            "{ending}"
        );
        let space = given.space(Access::Read).await;
        for table in ["gone", "gone2"] {
            assert_eq!(
                code(&*space, &format!("SELECT * FROM {table}")).await,
                "db.sql",
                "{ending}"
            );
        }
    }
}

async fn a_step_stays_inside_its_namespace(given: Given) {
    let other = given.space_of(&given.other, Access::Migrate).await;
    run(&*other, "CREATE TABLE theirs (id BIGINT)").await;
    let ledger = given.store.ledger();
    let name = given.other.as_str();
    for text in [
        "DROP TABLE theirs;".to_owned(),
        format!("DROP TABLE \"{name}\".theirs;"),
        "DROP TABLE kodex_journal;".to_owned(),
        "INSERT INTO kodex_journal VALUES ('x', 'y', 1);".to_owned(),
    ] {
        let error = soon(ledger.apply(&given.plugin, &step("0001_a.sql", &text), None)).await;
        let error = error.expect_err("is kept away");
        assert!(
            matches!(error.code(), "db.refused" | "db.sql"),
            "{text}: {error}"
        );
    }
    assert_eq!(n_rows(&*other, "theirs").await, 0);
}

async fn the_newest_step_must_be_the_planned_one(given: Given) {
    let ledger = given.store.ledger();
    let steps = [
        step("0001_a.sql", "CREATE TABLE a (id BIGINT);"),
        step("0002_b.sql", "CREATE TABLE b (id BIGINT);"),
    ];
    let early = soon(ledger.apply(&given.plugin, &steps[1], Some("plugin:x/0001_a.sql"))).await;
    assert_eq!(
        early.expect_err("nothing is applied").code(),
        "ledger.moved"
    );
    let newest = given.apply(&steps[..1]).await;
    for after in [None, Some("plugin:x/0001_z.sql")] {
        for (step, recording) in [(&steps[0], false), (&steps[1], false), (&steps[1], true)] {
            let result = if recording {
                soon(ledger.record(&given.plugin, step, after)).await
            } else {
                soon(ledger.apply(&given.plugin, step, after)).await
            };
            assert_eq!(result.expect_err("the ledger moved").code(), "ledger.moved");
        }
    }
    let space = given.space(Access::Read).await;
    assert_eq!(code(&*space, "SELECT * FROM b").await, "db.sql");
    soon(ledger.apply(&given.plugin, &steps[1], newest.as_deref()))
        .await
        .expect("applies");
}

async fn of_two_upgrades_one_applies(given: Given) {
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let given = given.clone();
            spawn(async move {
                let step = step(
                    "0001_a.sql",
                    "CREATE TABLE a (id BIGINT); INSERT INTO a VALUES (1);",
                );
                given.store.ledger().apply(&given.plugin, &step, None).await
            })
        })
        .collect();
    let mut n_applied = 0;
    for task in tasks {
        match soon(task).await.expect("ends") {
            Ok(_) => n_applied += 1,
            Err(error) => assert_eq!(error.code(), "ledger.moved", "{error}"),
        }
    }
    assert_eq!(n_applied, 1);
    assert_eq!(n_rows(&*given.space(Access::Read).await, "a").await, 1);
}

async fn a_data_step_is_recorded_and_its_progress_ends(given: Given) {
    let ledger = given.store.ledger();
    let newest = given
        .apply(&[step("0001_a.sql", "CREATE TABLE a (id BIGINT);")])
        .await;
    let data = step("0002_fill.sql", "-- kodex: code\n");
    let applied = soon(ledger.apply(&given.plugin, &data, newest.as_deref())).await;
    assert!(applied.is_err(), "code is not applied as SQL");
    let id = data.id(&given.plugin);
    for at in ["{\"at\": 1}", "{\"at\": 2}"] {
        let progress = Progress {
            id: id.clone(),
            progress: at.to_owned(),
        };
        soon(ledger.save_progress(&given.plugin, &progress))
            .await
            .expect("saves");
        let found = soon(ledger.progress(&given.plugin, &id)).await;
        assert_eq!(found, Ok(Some(progress)));
    }
    soon(ledger.record(&given.plugin, &data, newest.as_deref()))
        .await
        .expect("records");
    assert_eq!(soon(ledger.progress(&given.plugin, &id)).await, Ok(None));
    let applied = soon(ledger.applied(&given.plugin)).await.expect("reads");
    assert_eq!(applied.last().map(|row| row.id.as_str()), Some(id.as_str()));
}

async fn progress_is_kept_by_step(given: Given) {
    let ledger = given.store.ledger();
    let ids = ["plugin:x/0001_a.sql", "plugin:x/0002_b.sql"];
    for id in ids {
        let progress = Progress {
            id: id.to_owned(),
            progress: format!("\"{id}\""),
        };
        soon(ledger.save_progress(&given.plugin, &progress))
            .await
            .expect("saves");
    }
    for id in ids {
        let found = soon(ledger.progress(&given.plugin, id))
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(found.progress, format!("\"{id}\""));
    }
    assert_eq!(soon(ledger.progress(&given.other, ids[0])).await, Ok(None));
}

async fn a_step_outside_a_transaction(given: Given) {
    let ledger = given.store.ledger();
    let newest = given
        .apply(&[step("0001_a.sql", "CREATE TABLE a (id BIGINT);")])
        .await;
    let vacuum = step("0002_tidy.sql", "-- kodex: no-transaction\nVACUUM\n");
    let applied = soon(ledger.apply(&given.plugin, &vacuum, newest.as_deref())).await;
    let newest = applied.expect("runs outside").id;
    let index = "-- kodex: no-transaction\nCREATE INDEX IF NOT EXISTS by_id ON a (id);\n";
    let step3 = step("0003_index.sql", index);
    let applied = soon(ledger.apply(&given.plugin, &step3, Some(&newest))).await;
    let newest = applied.expect("is idempotent").id;
    let two = step(
        "0004_two.sql",
        "-- kodex: no-transaction\nVACUUM; VACUUM;\n",
    );
    let error = soon(ledger.apply(&given.plugin, &two, Some(&newest))).await;
    assert!(error.is_err(), "one statement only");
    assert_eq!(
        soon(ledger.applied(&given.plugin))
            .await
            .expect("reads")
            .len(),
        3
    );
}

async fn plugins_have_ledgers_of_their_own(given: Given) {
    given
        .apply(&[step("0001_a.sql", "CREATE TABLE a (id BIGINT);")])
        .await;
    let ledger = given.store.ledger();
    assert_eq!(soon(ledger.applied(&given.other)).await, Ok(Vec::new()));
    let same = step("0001_a.sql", "CREATE TABLE a (id BIGINT);");
    soon(ledger.apply(&given.other, &same, None))
        .await
        .expect("is another table");
}

async fn the_plan_goes_on_from_the_ledger(given: Given) {
    let steps = [
        step("0001_a.sql", "CREATE TABLE a (id BIGINT);"),
        step("0002_b.sql", "CREATE TABLE a (id BIGINT);"),
        step("0003_c.sql", "CREATE TABLE c (id BIGINT);"),
    ];
    let ledger = given.store.ledger();
    let run_plan = |steps: Vec<crate::Step>| {
        let given = given.clone();
        async move {
            let ledger = given.store.ledger();
            let applied = ledger.applied(&given.plugin).await.expect("reads");
            let plan = plan(&given.plugin, &steps, &applied).expect("is sound");
            let mut after = plan.newest.clone();
            for step in &plan.pending {
                let applied = ledger.apply(&given.plugin, step, after.as_deref()).await?;
                after = Some(applied.id);
            }
            Ok::<_, StoreError>(plan.pending.len())
        }
    };
    soon(run_plan(steps.to_vec()))
        .await
        .expect_err("the second fails");
    assert_eq!(
        soon(ledger.applied(&given.plugin))
            .await
            .expect("reads")
            .len(),
        1
    );
    let mut mended = steps.to_vec();
    mended[1] = step("0002_b.sql", "CREATE TABLE b (id BIGINT);");
    assert_eq!(soon(run_plan(mended.clone())).await, Ok(2));
    assert_eq!(soon(run_plan(mended)).await, Ok(0));
}
