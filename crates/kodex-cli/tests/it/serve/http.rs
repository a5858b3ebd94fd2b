//! Probes and metrics: what is answered, to whom, and what slow or hostile clients can do.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::{
    serve::{Node, get, page, until, world},
    world::DEADLINE,
};

#[test]
fn probes_answer_and_disclose_nothing() {
    let world = world(0, "cat");
    let node = Node::begin(&world, "--http 127.0.0.1:0");
    let address = node.http();
    until("readiness", || {
        (page(&address, "/readyz").0 == 200).then_some(())
    });
    for (path, want) in [
        ("/livez", (200, "ok\n")),
        ("/startupz", (200, "{\"status\":\"started\"}\n")),
        ("/readyz", (200, "{\"status\":\"ready\"}\n")),
        ("/", (404, "not found\n")),
        ("/status", (404, "not found\n")),
        ("/metrics/", (404, "not found\n")),
    ] {
        let (status, body) = page(&address, path);
        assert_eq!((status, body.as_str()), want, "{path}");
    }
    let (status, metrics) = page(&address, "/metrics");
    assert_eq!(status, 200);
    for name in [
        "kodex_ready 1\n",
        "kodex_store_up 1\n",
        "kodex_plugins 1\n",
        "kodex_plugin_in_flight{plugin=\"maker\"} 0\n",
        "kodex_heartbeat_pulses_total{outcome=\"failed\"} 0\n",
        "kodex_work_claims_total 0\n",
    ] {
        assert!(metrics.contains(name), "{name} is missing in {metrics}");
    }
    node.stop();
}

#[test]
fn calls_are_counted_as_prometheus_wants_them() {
    let world = world(3, "cat");
    let node = Node::begin(&world, "--http 127.0.0.1:0 --beat 200ms");
    let address = node.http();
    let metrics = until("three completed runs", || {
        let (_, metrics) = page(&address, "/metrics");
        metrics
            .contains("kodex_work_jobs{queue=\"run\",state=\"completed\"} 3\n")
            .then_some(metrics)
    });
    let labels = "{plugin=\"maker\",hook=\"heartbeat\",kind=\"hook\"";
    for start in [
        format!("kodex_plugin_calls_total{labels},outcome=\"ok\"}} "),
        format!("kodex_plugin_call_duration_seconds_bucket{labels},le=\"+Inf\"}} "),
        format!("kodex_plugin_call_duration_seconds_count{labels}}} "),
        format!("kodex_breaker_state{labels},state=\"closed\"}} 1"),
        "kodex_heartbeat_calls_total{outcome=\"done\"} ".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(&start)),
            "{start} is missing in {metrics}"
        );
    }
    // Every series once, every family with its kind.
    let mut series: Vec<_> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').expect("a value").0)
        .collect();
    let n_all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), n_all);
    node.stop();
}

#[test]
fn what_does_not_belong_here_is_refused() {
    let world = world(0, "cat");
    let node = Node::begin(&world, "--http 127.0.0.1:0");
    let address = node.http();
    let host = format!("Host: {address}\r\n");
    for (request, want) in [
        (format!("GET /livez HTTP/1.1\r\n{host}\r\n"), "200"),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost:1\r\n\r\n".into(),
            "200",
        ),
        (format!("HEAD /livez HTTP/1.1\r\n{host}\r\n"), "200"),
        (
            format!("POST /livez HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n"),
            "405",
        ),
        (format!("DELETE /livez HTTP/1.1\r\n{host}\r\n"), "405"),
        (
            format!("GET /livez HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc"),
            "413",
        ),
        (
            format!("GET /livez HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            "413",
        ),
        (
            "GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(),
            "403",
        ),
        ("GET /livez HTTP/1.1\r\n\r\n".into(), "403"),
        (format!("GET /livez HTTP/1.1\r\n{host}{host}\r\n"), "403"),
        (
            format!("GET /livez HTTP/1.1\r\n{host}Origin: http://localhost\r\n\r\n"),
            "403",
        ),
        (
            format!("GET /metrics HTTP/1.1\r\n{host}Sec-Fetch-Site: cross-site\r\n\r\n"),
            "403",
        ),
        (
            format!("GET http://{address}/livez HTTP/1.1\r\n{host}\r\n"),
            "403",
        ),
        (
            format!(
                "GET /livez HTTP/1.1\r\n{host}X: {}\r\n\r\n",
                "x".repeat(20_000)
            ),
            "431",
        ),
        (
            format!(
                "GET /livez HTTP/1.1\r\n{host}{}\r\n",
                "A: b\r\n".repeat(100)
            ),
            "431",
        ),
        (
            format!("GET /livez HTTP/1.1\r\n{host}Bad header\r\n\r\n"),
            "400",
        ),
        ("\u{0}\u{1}\r\n\r\n".into(), "400"),
    ] {
        let answer = get(&address, &request);
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, want, "{request:.80} was answered by {answer:?}");
    }
    node.stop();
}

#[test]
fn slow_clients_neither_stay_nor_keep_others_out() {
    let world = world(0, "cat");
    let node = Node::begin(&world, "--http 127.0.0.1:0");
    let address = node.http();
    let mut slow: Vec<TcpStream> = (0..80)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).expect("a listener");
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost: 127")
                .expect("a part");
            stream.set_read_timeout(Some(DEADLINE)).expect("a bound");
            stream
        })
        .collect();
    // More than there are places for; who comes after them is answered when the first are sent away.
    assert_eq!(page(&address, "/livez").0, 200);
    for stream in &mut slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
            "{answer}"
        );
    }
    node.stop();
}

#[test]
fn other_machines_are_kept_out_unless_somebody_says_otherwise() {
    let world = world(0, "cat");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let done = world.args(["serve", "--http", address]);
        assert_eq!(done.code(), 2, "{}", done.stderr);
        assert!(
            done.stderr.contains("serve.http.exposed"),
            "{}",
            done.stderr
        );
    }
    for address in ["7340", "localhost", "example.org:80"] {
        assert_eq!(world.args(["serve", "--http", address]).code(), 2);
    }
}
