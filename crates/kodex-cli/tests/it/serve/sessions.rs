//! Sessions that have ended, told by the command line: with a resident runtime and without.

use serde_json::{Value, json};

use crate::{
    serve::{BRISK, Node},
    world::World,
};

/// Writes down what was wished in a session; fails as often as the file `FAILS` says.
const LEARNER: &str = r#"
import kodex

plugin = kodex.Plugin("learner", "0.1.0", "Learns from sessions.")


@plugin.job("session.completed")
def learn(job):
    with open("FAILS") as fails:
        if job.attempt <= int(fails.read()):
            raise ValueError("no luck")
    with open("LEARNT", "a") as learnt:
        for message in job.session["messages"]:
            learnt.write(f"{job.attempt} {message['authority']} {message['text']}\n")
"#;

fn world(n_fails: u32) -> World {
    let world = World::new();
    let at = |name: &str| world.work().join(name).display().to_string();
    let plugin = LEARNER.replace("FAILS", &at("fails"));
    let plugin = plugin.replace("LEARNT", &at("learnt"));
    world.write("plugins/learner.py", plugin);
    world.write("fails", n_fails.to_string());
    world.write("learnt", "");
    // An agent run that waits is not begun for a session.
    world.write(".kodex/config.toml", BRISK);
    world
}

fn session(id: &str) -> Value {
    json!({
        "conversation_id": "c", "session_id": id, "began_at_ms": 50, "completed_at_ms": 100,
        "source": {"kind": "session", "address": "c"},
        "messages": [
            {"role": "user", "text": "earlier", "at_ms": 10},
            {"role": "user", "text": format!("wish {id}"), "authority": "instruction", "at_ms": 60},
            {"role": "assistant", "text": "answer", "at_ms": 70},
        ],
    })
}

fn complete(world: &World, session: &Value, more: &[&str]) -> (i32, Value, String) {
    world.write("session.json", session.to_string());
    let words = [
        "sessions",
        "complete",
        "--json",
        "--session",
        "@session.json",
    ];
    let done = world.args(words.iter().chain(more));
    let answer = serde_json::from_str(&done.stdout).unwrap_or_default();
    (done.code(), answer, done.stderr)
}

fn jobs(world: &World) -> Value {
    let done = world.run("runs list --jobs --json");
    serde_json::from_str(&done.stdout).expect("JSON")
}

#[test]
fn jobs_of_a_session_are_done_here_without_a_resident_runtime() {
    let world = world(0);
    let (code, answer, told) = complete(&world, &session("s1"), &[]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(
        (&answer["n_added"], &answer["resident"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(answer["jobs"][0]["status"], "completed", "{answer} {told}");
    // The turn alone: what was said earlier in private is not there.
    let learnt = "1 instruction wish s1\n1 context answer\n";
    assert_eq!(world.read("learnt"), learnt);
    // Said again it is known.
    let (code, answer, _) = complete(&world, &session("s1"), &[]);
    assert_eq!((code, &answer["n_added"]), (0, &json!(0)));
    assert_eq!(answer["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.read("learnt"), learnt);
}

#[test]
fn a_session_on_standard_input_is_told_in_words() {
    let world = world(0);
    world.write("session.json", session("s1").to_string());
    let file = std::fs::File::open(world.work().join("session.json")).expect("a file");
    let mut command = world.command(["sessions", "complete"]);
    let child = command.stdin(file).spawn().expect("kodex");
    let done = crate::world::finished(child);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stdout.ends_with(" completed\n"), "{}", done.stdout);
}

#[test]
fn what_fails_after_the_answer_changes_no_exit_status() {
    // A handler that raises is tried again by whoever works next.
    let world = world(1);
    let (code, answer, told) = complete(&world, &session("s1"), &[]);
    assert_eq!((code, &answer["n_added"]), (0, &json!(1)), "{told}");
    assert_eq!(answer["jobs"][0]["status"], "pending", "{answer}");
    assert!(
        told.contains("warning") && told.contains("no luck"),
        "{told}"
    );
    let node = Node::start(&world, "");
    let mut n_looks = 0;
    while jobs(&world)[0]["status"] != "completed" {
        n_looks += 1;
        assert!(n_looks < 2_000, "{}", jobs(&world));
    }
    node.stop();
    assert!(world.read("learnt").starts_with("2 instruction wish s1\n"));
    // Nobody is there to ask for a job.
    let nowhere = ["--store", "postgres://nobody@127.0.0.1:1/none"];
    let (code, answer, told) = complete(&world, &session("s2"), &nowhere);
    assert_eq!((code, answer), (0, Value::Null), "{told}");
    assert!(
        told.contains("warning") && told.contains("store."),
        "{told}"
    );
}

#[test]
fn a_session_that_has_not_ended_is_refused_with_a_resident_runtime_and_without() {
    let world = world(0);
    let mut unfinished = session("s1");
    unfinished["completed_at_ms"] = json!(0);
    let mut blank = session(" ");
    blank["conversation_id"] = json!("c");
    let none = json!({"words": 1});
    let check = || {
        for wrong in [&unfinished, &blank, &none] {
            let (code, answer, told) = complete(&world, wrong, &[]);
            assert_eq!((code, answer), (1, Value::Null), "{wrong} {told}");
            assert!(told.contains("work.session"), "{told}");
        }
        assert_eq!(jobs(&world), json!([]));
    };
    check();
    let node = Node::start(&world, "");
    check();
    node.stop();
}

#[test]
fn a_resident_runtime_does_the_jobs_of_a_session() {
    let world = world(0);
    let node = Node::start(&world, "");
    let (code, answer, told) = complete(&world, &session("s1"), &["-v"]);
    assert_eq!((code, &answer["resident"]), (0, &json!(true)), "{told}");
    assert!(told.contains("answered by the resident runtime"), "{told}");
    let mut n_looks = 0;
    while world.read("learnt").lines().count() < 2 {
        let _ = jobs(&world);
        n_looks += 1;
        assert!(n_looks < 2_000, "{}", jobs(&world));
    }
    let (_, answer, _) = complete(&world, &session("s1"), &[]);
    assert_eq!(answer["n_added"], 0);
    node.stop();
}

#[test]
fn a_session_of_many_words_fits_into_its_job() {
    let world = world(0);
    let mut long = session("s1");
    let text = "word ".repeat(3_000);
    let message =
        |at: u64| json!({"role": "assistant", "text": format!("{at} {text}"), "at_ms": at});
    long["messages"] = (51..95).map(message).collect();
    let (code, answer, told) = complete(&world, &long, &[]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(answer["jobs"][0]["status"], "completed", "{answer} {told}");
    let learnt = world.read("learnt");
    assert_eq!(learnt.lines().count(), 44);
    assert!(learnt.len() > 44 * 1_000, "{}", learnt.len());
}
