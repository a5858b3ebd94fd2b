//! A private Redis on a free port of this machine's loopback, in memory alone, gone with this program.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::fs::symlink,
    process::{Child, ChildStdin, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::programs::{Programs, command, on_path};

/// From nothing to a server that answers; a tenth of a second on an idle machine.
const START: Duration = Duration::from_secs(20);

/// The server ends when this program does: the shell's input ends then, even when it is killed.
const WATCH: &str = r#"
    "$@" >/dev/null &
    server=$!
    cat >/dev/null
    kill "$server"
    wait "$server"
"#;

/// A running server. Dropping it stops it.
pub(crate) struct Redis {
    pub(crate) port: u16,
    watch: Child,
    stdin: Option<ChildStdin>,
}

impl Redis {
    /// Starts one, if the program is on this machine.
    pub(crate) fn start(programs: &Programs) -> Option<Self> {
        let started = Self::started(programs);
        if let Err(error) = &started {
            crate::note(&format!("Redis is left out: {error:#}"));
        }
        started.ok()
    }

    fn started(programs: &Programs) -> Result<Self> {
        // Debian's package of tools holds the whole server under the name of one of its tools, and starts
        // no service of the machine. It does what the name asks for by which it is called.
        let program = on_path("redis-server").or_else(|| on_path("redis-check-rdb"));
        let program = program.context("neither redis-server nor redis-check-rdb is on the path")?;
        let folder = programs.scratch.path().join("redis");
        std::fs::create_dir_all(&folder)?;
        let server = folder.join("redis-server");
        symlink(&program, &server)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut watch = command("sh")
            .args(["-c", WATCH, "sh"])
            .arg(&server)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--loglevel", "warning", "--dir"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let stdin = watch.stdin.take();
        let redis = Self { port, watch, stdin };
        redis.wait_until_ready()?;
        Ok(redis)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let started_at = Instant::now();
        while started_at.elapsed() < START {
            if answers(self.port).unwrap_or(false) {
                return Ok(());
            }
            // Between two looks.
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("it did not answer within {START:?}")
    }
}

fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.watch.wait();
    }
}
