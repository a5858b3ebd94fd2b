//! Answers to HTTP: what is sent, what each answer means, and where nothing is sent at all.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
};

use serde_json::{Value, json};

use crate::{
    serve::{Node, until},
    world::{DEADLINE, Lines, World},
};

/// How often an answer is brought to its place at most; more often than an agent may try.
const DELIVERIES: u32 = 4;

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
    deliver_in(&World::new(), url, hosts)
}

fn deliver_in(world: &World, url: &str, hosts: &str) -> Value {
    world.write(
        "plugins/hooker.py",
        format!(
            "import kodex\nplugin = kodex.Plugin('hooker', '0.1.0', 'Asks.')\n@plugin.heartbeat\ndef beat(beat):\n    \
             beat.agent.dispatch('one', ('webhook', {url:?}), 'an answer')\n"
        ),
    );
    world.write(
        ".kodex/config.toml",
        format!(
            "[work]\npoll = \"100ms\"\npauses = [\"20ms\"]\nattempts = 2\ndeliveries = {n}\n[runner]\ncommand = [\"cat\"]\n\
             [destinations.webhook]\nhosts = [{hosts}]\ntimeout = \"5s\"\n",
            n = DELIVERIES,
        ),
    );
    let node = Node::start(world, "");
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
    assert_eq!(run["attempt"], 1, "the agent worked once: {run}");
    let requests: Vec<Request> = told.try_iter().collect();
    assert_eq!(requests.len(), 4);
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
fn what_never_helps_is_given_up() {
    let n = usize::try_from(DELIVERIES).expect("a count");
    let (address, told) = listener(vec![Some("500 No".to_owned()); n + 1]);
    let run = deliver(&format!("http://{address}/"), "");
    assert_eq!(run["status"], "failed", "{run}");
    assert_eq!(run["reason_code"], "run.delivery", "{run}");
    let reason = run["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("in 4 tries") && reason.contains("answered 500"),
        "{reason}"
    );
    assert_eq!(told.try_iter().count(), n);
    // Nobody listens: the same.
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let run = deliver(&format!("http://{address}/"), "");
    let reason = run["reason"].as_str().expect("a reason");
    assert!(reason.contains("cannot be reached"), "{reason}");
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

/// A server that speaks TLS: answers every POST with 200 and says its port, then a word for each request.
const TLS_SERVER: &str = r#"
import http.server, ssl, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("got " + body.decode(), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(f"port {server.server_address[1]}", flush=True)
server.serve_forever()
"#;

/// The settings of a certificate for names of a host, signed by itself.
fn certificate(subject: &str, names: &str) -> String {
    format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=v3\nprompt=no\n[dn]\nCN={subject}\n\
         [v3]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName={names}\n"
    )
}

/// A running server of another program; it is killed with this value.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A TLS server with a new certificate in a folder of its own, its port, and what it says.
#[expect(
    clippy::disallowed_methods,
    reason = "another program is the other side"
)]
fn tls(world: &World, subject: &str, names: &str) -> (Server, u16, Lines) {
    use std::process::{Command, Stdio};
    let config = world.write("tls/cert.cnf", certificate(subject, names));
    let folder = config.parent().expect("a folder");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ])
        .args([
            "-nodes", "-days", "2", "-config", "cert.cnf", "-keyout", "key.pem", "-out", "cert.pem",
        ])
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let mut child = Command::new("/usr/bin/python3")
        .args(["-I", "-c", TLS_SERVER])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a server");
    let lines = Lines::new(child.stdout.take().expect("lines"));
    let server = Server(child);
    let line = lines.until("port ");
    let port = line
        .trim()
        .trim_start_matches("port ")
        .parse()
        .expect("a port");
    (server, port, lines)
}

#[test]
fn certificates_decide_who_gets_an_answer() {
    let own = "DNS:localhost,IP:127.0.0.1";
    // Whether the certificate is trusted, for whom it is, who is asked for.
    for (trusts, names, host, said) in [
        (true, own, "localhost", None),
        (true, own, "127.0.0.1", None),
        (false, own, "localhost", Some("UnknownIssuer")),
        (
            true,
            "DNS:elsewhere.example",
            "localhost",
            Some("not valid for name"),
        ),
    ] {
        let (world, stranger) = (World::new(), World::new());
        let (_server, port, lines) = tls(&world, "hooks", names);
        drop(tls(&stranger, "stranger", own));
        let roots = match trusts {
            true => world.work().join("tls/cert.pem"),
            // Some other one: a store of certificates without any is another matter.
            false => stranger.work().join("tls/cert.pem"),
        };
        let world = world.set("SSL_CERT_FILE", roots);
        let run = deliver_in(&world, &format!("https://{host}:{port}/hook"), "");
        match said {
            None => {
                assert_eq!(run["status"], "completed", "{run}");
                let got = lines.until("got ");
                assert!(got.contains("\"answer\":\"an answer\""), "{got}");
            }
            Some(said) => {
                assert_eq!(run["status"], "failed", "{run}");
                let reason = run["reason"].as_str().expect("a reason");
                assert!(
                    reason.contains("under TLS") && reason.contains(said),
                    "{reason}"
                );
                assert!(reason.contains("in 4 tries"), "{reason}");
            }
        }
    }
}
