//! Answers to HTTP: what is sent, what each answer means, and where nothing is sent at all.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
};

use serde_json::{Value, json};

use crate::{
    serve::{Node, until},
    world::{DEADLINE, World},
};

/// One request as it came.
struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A listener that answers each request with the next of these heads; none hangs up without an answer.
fn listener(answers: Vec<Option<String>>) -> (SocketAddr, mpsc::Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            stream.set_read_timeout(Some(DEADLINE)).expect("a bound");
            let mut read = BufReader::new(stream.try_clone().expect("a handle"));
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                read.read_line(&mut line).expect("a line");
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_owned());
            }
            let headers: Vec<(String, String)> = lines[1..]
                .iter()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            read.read_exact(&mut body).expect("a body");
            let request = Request {
                line: lines.swap_remove(0),
                headers,
                body: serde_json::from_slice(&body).expect("JSON"),
            };
            if let Some(head) = answer {
                let _ = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
            }
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (address, told)
}

/// Sends one answer to a URL and gives the run as it is at last.
fn deliver(url: &str, hosts: &str) -> Value {
    let world = World::with(&[(
        "plugins/hooker.py",
        &format!(
            "import kodex\nplugin = kodex.Plugin('hooker', '0.1.0', 'Asks.')\n@plugin.heartbeat\ndef beat(beat):\n    \
             beat.agent.dispatch('one', ('webhook', {url:?}), 'an answer')\n"
        ),
    )]);
    world.write(
        ".kodex/config.toml",
        format!(
            "[work]\npoll = \"100ms\"\npauses = [\"20ms\"]\nattempts = 3\n[runner]\ncommand = [\"cat\"]\n\
             [destinations.webhook]\nhosts = [{hosts}]\ntimeout = \"5s\"\n"
        ),
    );
    let node = Node::start(&world, "");
    let run = until("the end of the run", || {
        let done = world.run("runs list --json");
        let runs: Value = serde_json::from_str(&done.stdout).ok()?;
        let run = runs.get(0)?.clone();
        let is_over = ["completed", "failed"].contains(&run["status"].as_str()?);
        is_over.then_some(run)
    });
    node.stop();
    run
}

#[test]
fn an_answer_comes_with_its_run_and_is_sent_again_when_that_may_help() {
    let answers = [
        "503 Busy",
        "429 Slow",
        "200 OK\r\nContent-Length: 2\r\n\r\nok",
    ];
    let mut answers: Vec<_> = answers
        .iter()
        .map(|head| Some((*head).to_owned()))
        .collect();
    answers.insert(1, None);
    let (address, told) = listener(answers);
    let run = deliver(&format!("http://{address}/hook?key=1"), "");
    assert_eq!(run["status"], "completed", "{run}");
    let requests: Vec<Request> = told.try_iter().collect();
    assert!(requests.len() >= 2, "{}", requests.len());
    for request in &requests {
        assert_eq!(request.line, "POST /hook?key=1 HTTP/1.1");
        assert_eq!(request.header("idempotency-key"), run["id"]);
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("host"), address.to_string());
        let want = json!({"run": run["id"], "plugin": "hooker", "answer": "an answer"});
        assert_eq!(request.body, want);
    }
}

#[test]
fn what_cannot_help_is_not_sent_again() {
    for (head, said) in [
        ("404 Not Found", "answered 404"),
        (
            "302 Found\r\nLocation: http://127.0.0.1:1/",
            "redirects are not followed",
        ),
        ("400 Bad", "answered 400"),
    ] {
        let (address, told) = listener(vec![Some(head.to_owned()), Some("200 OK".to_owned())]);
        let run = deliver(&format!("http://{address}/"), "");
        assert_eq!(run["status"], "failed", "{run}");
        assert!(
            run["reason"]
                .as_str()
                .is_some_and(|text| text.contains(said)),
            "{run}"
        );
        assert_eq!(told.try_iter().count(), 1, "{head}");
    }
}

#[test]
fn nothing_is_sent_where_nobody_allowed_it() {
    for (url, hosts, said) in [
        ("https://hooks.example.com/x", "", "is not listed"),
        (
            "http://hooks.example.com/x",
            "\"hooks.example.com\"",
            "is not listed",
        ),
        ("http://169.254.169.254/latest", "", "is not listed"),
        ("ftp://localhost/", "", "neither http nor https"),
        ("http://user:hunter7@localhost/", "", "a user or a password"),
    ] {
        let run = deliver(url, hosts);
        assert_eq!(run["status"], "failed", "{run}");
        let reason = run["reason"].as_str().expect("a reason");
        assert!(
            reason.contains(said) && !reason.contains("hunter7"),
            "{reason}"
        );
    }
}
