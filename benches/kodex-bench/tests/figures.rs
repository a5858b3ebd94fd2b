//! Every bench runs at its smallest size and prints the figures that it promises. Times are not looked
//! at: nothing is measured here.
#![expect(
    clippy::disallowed_methods,
    reason = "the bench is a program, and is started as one"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn bench(arguments: &[&str], peers: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kodex-bench"));
    command.args(arguments).arg("--peers").arg(peers);
    command.output().expect("the bench starts")
}

/// The peers of this checkout, where they are installed: their scripts are run too then.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.peers")
}

fn figures(output: &Output) -> Vec<Value> {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    let parse =
        |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no figure: {line}\n{errors}"));
    text.lines().map(parse).collect()
}

/// Runs a bench and compares its figures with rows of `case | unit | target`.
fn check(name: &str, peers: &Path, expected: &str) {
    let output = bench(&[name, "--size", "tiny"], peers);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(
        errors.contains(" processors, ") && errors.contains("Linux"),
        "{errors}"
    );
    let row = |figure: &Value| {
        let text = |key: &str| figure[key].as_str().unwrap_or("-").to_owned();
        format!("{} | {} | {}", text("case"), text("unit"), text("target"))
    };
    let figures = figures(&output);
    let got: Vec<String> = figures.iter().map(row).collect();
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|row| !row.is_empty())
        .collect();
    assert_eq!(got, expected, "{errors}");
    figures.iter().for_each(|figure| sound(name, figure));
}

fn sound(name: &str, figure: &Value) {
    assert_eq!(figure["bench"], name);
    assert!(
        ["lower", "higher"].contains(&figure["better"].as_str().unwrap_or_default()),
        "{figure}"
    );
    assert!(
        figure["value"].is_f64() && figure["spread"].is_f64(),
        "{figure}"
    );
    assert_eq!(
        figure["target"].is_string(),
        figure["met"].is_boolean(),
        "{figure}"
    );
    for one in ["peer", "limit"] {
        let value = format!("{one}_value");
        assert_eq!(figure[one].is_string(), figure[&value].is_f64(), "{figure}");
    }
}

#[test]
fn dispatch() {
    let expected = "
        native_1 | ns | -
        native_1_seed | ns | -
        native_10 | ns | ratio_peer>=6
        native_10_seed | ns | ratio_peer>=1.8
        native_100 | ns | ratio_peer>=6
        native_100_seed | ns | ratio_peer>=1.8
        event_fixed | ns | value<=450 or ratio_limit<=2.7
        not_subscribed | ns | value<=5 or ratio_limit<=0.34
        allocations_100 | allocations | value<=0";
    check("dispatch", &installed(), expected);
    check("dispatch", Path::new("none"), expected);
}

#[test]
fn worker() {
    check(
        "worker",
        &installed(),
        "
        python_p50_1 | us | ratio_limit<=1.3 and ratio_peer>=10
        python_p99_1 | us | ratio_limit<=3
        python_p50_8 | us | ratio_limit<=1.3
        python_calls_8 | 1/s | -
        python_once_1 | us | ratio_peer>=400
        python_pipe_1 | us | -
        python_calls_8_apart | 1/s | -
        node_p50_1 | us | ratio_limit<=1.3
        node_p99_1 | us | ratio_limit<=3
        node_p50_8 | us | ratio_limit<=1.3
        node_calls_8 | 1/s | -
        node_once_1 | us | -
        node_pipe_1 | us | -
        node_calls_8_apart | 1/s | -
        rust_p50_1 | us | ratio_limit<=1.3
        rust_p99_1 | us | ratio_limit<=3
        rust_p50_8 | us | ratio_limit<=1.3
        rust_calls_8 | 1/s | -
        rust_once_1 | us | -
        rust_pipe_1 | us | -
        rust_calls_8_apart | 1/s | ratio_peer>=5
        activation_python | ms | ratio_limit<=1.5",
    );
}

#[test]
fn cold() {
    check(
        "cold",
        Path::new("none"),
        "
        list_10 | ms | ratio_peer>=10 and value<=2.7 or ratio_limit<=3.25
        list_100 | ms | -
        list_1000 | ms | ratio_peer>=25 and value<=10 or ratio_limit<=3.85
        first_1000 | ms | ratio_peer>=0.667
        distributions_300 | ms | value<=5
        start | ms | -",
    );
}

#[test]
fn memory() {
    check("memory", Path::new("none"), "idle_100 | MB | value<=12");
}

#[test]
fn migrate() {
    let expected = "
        sqlite_apply_100 | ms | ratio_peer>=1
        sqlite_verify_100 | ms | -
        sqlite_command_100_alembic | ms | -
        sqlite_command_100_yoyo | ms | -
        sqlite_command_100_drizzle | ms | -
        sqlite_apply_1000 | ms | ratio_peer>=1
        sqlite_verify_1000 | ms | ratio_limit<=1.3
        sqlite_command_1000_dbmate | ms | ratio_peer>=4";
    check("migrate", &installed(), &on_both_engines(expected));
    check("migrate", Path::new("none"), &on_both_engines(expected));
}

#[test]
fn state() {
    let expected = "
        sqlite_get_1 | 1/s | ratio_peer>=1 and value>=130000 or ratio_limit<=1.76
        sqlite_get_8 | 1/s | ratio_peer>=2
        sqlite_get_1_sqlite3 | 1/s | -
        sqlite_worker_get | 1/s | ratio_peer>=1
        sqlite_set_1 | 1/s | ratio_peer>=1 and value>=33000 or ratio_limit<=1.3
        sqlite_set_8 | 1/s | -
        sqlite_set_1_sqlite3 | 1/s | -
        sqlite_worker_set | 1/s | -
        postgres_get_1 | 1/s | ratio_limit<=1.111
        postgres_get_8 | 1/s | ratio_limit<=1.111
        postgres_worker_get | 1/s | -
        postgres_set_1 | 1/s | ratio_limit<=1.111
        postgres_set_8 | 1/s | ratio_limit<=1.111
        postgres_worker_set | 1/s | -";
    check("state", &installed(), expected);
    check("state", Path::new("none"), expected);
}

#[test]
fn db() {
    let expected = "
        sqlite_read | us | -
        sqlite_read_overhead | us | -
        sqlite_read_worker | us | -
        sqlite_read_worker_overhead | us | -
        sqlite_insert | us | -
        sqlite_insert_overhead | us | -
        sqlite_insert_worker | us | -
        sqlite_insert_worker_overhead | us | -";
    check("db", &installed(), &on_both_engines(expected));
}

#[test]
fn work() {
    let expected = "
        sqlite_add_1 | 1/s | ratio_peer>=1
        sqlite_add_100 | 1/s | -
        sqlite_work_1 | 1/s | ratio_peer>=3
        sqlite_work_1_by_100 | 1/s | value>=100000 or ratio_limit<=2.58
        sqlite_work_4 | 1/s | ratio_peer>=3
        sqlite_work_4_by_100 | 1/s | value>=100000 or ratio_limit<=2.58
        sqlite_work_16 | 1/s | ratio_peer>=3
        sqlite_work_16_by_100 | 1/s | value>=100000 or ratio_limit<=2.58
        sqlite_added_to_started_p50 | ms | value<=1
        sqlite_added_to_started_p99 | ms | -
        sqlite_work_with_history | us | ratio_limit<=1.05
        sqlite_empty_claim_with_history | us | ratio_limit<=1.05
        postgres_1 | 1/s | ratio_limit<=1.176
        postgres_1_pg_boss | 1/s | -
        postgres_1_procrastinate | 1/s | -
        postgres_4 | 1/s | ratio_limit<=1.176
        postgres_4_pg_boss | 1/s | -
        postgres_4_procrastinate | 1/s | -
        postgres_16 | 1/s | ratio_limit<=1.176
        postgres_16_pg_boss | 1/s | -
        postgres_16_procrastinate | 1/s | -
        postgres_4_batched | 1/s | ratio_peer>=1 and value>=50000 or ratio_limit<=1.2
        postgres_add | 1/s | ratio_peer>=1 and value>=90000 or ratio_limit<=1.33
        postgres_started_p50 | ms | value<=1.5 or ratio_limit<=3
        postgres_started_p99 | ms | value<=4 or ratio_limit<=3
        postgres_history | 1/s | ratio_limit<=1.05";
    check("work", &installed(), expected);
    check("work", Path::new("none"), expected);
}

#[test]
fn schedule() {
    let expected = "
        next_daily | us | ratio_peer>=1
        next_weekdays | us | ratio_peer>=1
        next_cron | us | ratio_peer>=1
        sqlite_beat | ms | value<=60 and ratio_limit<=1.5
        sqlite_backlog | ms | -
        postgres_beat | ms | value<=250 and ratio_limit<=1.5
        postgres_backlog | ms | -";
    check("schedule", &installed(), expected);
    check("schedule", Path::new("none"), expected);
}

/// The same cases again with the other engine's name.
fn on_both_engines(sqlite: &str) -> String {
    format!("{sqlite}\n{}", sqlite.replace("sqlite_", "postgres_"))
}

#[test]
fn without_a_server_the_files_alone_are_measured() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kodex-bench"));
    let command = command.args(["db", "--size", "tiny", "--peers", "none"]);
    let output = command
        .env_remove("KODEX_TEST_POSTGRES")
        .output()
        .expect("the bench starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("names no Postgres server"), "{errors}");
    let figures = figures(&output);
    let on_files = |figure: &Value| {
        let case = figure["case"].as_str().unwrap_or_default();
        case.starts_with("sqlite_")
    };
    assert!(
        figures.len() == 8 && figures.iter().all(on_files),
        "{errors}"
    );
}

#[test]
fn a_missed_target_ends_a_check_with_one() {
    // Without pluggy nobody can say that Kodex is faster.
    let output = bench(
        &["dispatch", "--size", "tiny", "--check"],
        Path::new("none"),
    );
    assert_eq!(output.status.code(), Some(1));
    let missed = figures(&output)
        .into_iter()
        .filter(|figure| figure["met"] == false);
    assert!(
        missed
            .map(|figure| figure["case"].to_string())
            .any(|case| case == "\"native_10\"")
    );
}

#[test]
fn the_benches_are_listed() {
    let output = bench(&["--list"], Path::new("none"));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "dispatch\nworker\ncold\nmemory\nmigrate\nstate\ndb\nwork\nschedule\n"
    );
    assert_eq!(bench(&["speed"], Path::new("none")).status.code(), Some(2));
}
