//! Another process for the tests: the Postgres of the test command, with a database of the test's own, behind
//! a door that can be shut.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

static N_MADE: AtomicU32 = AtomicU32::new(0);

/// A database that is dropped with this value.
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    #[expect(clippy::disallowed_methods, reason = "where the tests' Postgres is")]
    pub(crate) fn new() -> Self {
        let server = std::env::var("KODEX_TEST_POSTGRES")
            .expect("KODEX_TEST_POSTGRES names no server; run `cargo xtask postgres -- COMMAND`");
        let n = N_MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("kodex_serve_{}_{n}", std::process::id());
        let database = Self { server, name };
        database.sql(&format!("CREATE DATABASE {}", database.name));
        database
    }

    /// Its address.
    pub(crate) fn place(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("an address");
        format!("{server}/{}", self.name)
    }

    /// Its address through a door.
    pub(crate) fn place_behind(&self, door: &Door) -> String {
        let place = self.place();
        place.replace(&self.address().to_string(), &door.address.to_string())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let (_, rest) = self.server.rsplit_once('@').expect("an address");
        let (address, _) = rest.split_once('/').expect("a database");
        address.parse().expect("an address of this machine")
    }

    #[expect(clippy::disallowed_methods, reason = "the server's own program")]
    fn run(&self, sql: &str) -> Output {
        Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--dbname", &self.server])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .output()
            .expect("psql")
    }

    fn sql(&self, sql: &str) {
        let done = self.run(sql);
        assert!(
            done.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Ends every connection to it, as an administrator would.
    pub(crate) fn terminate(&self) {
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        ));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.run(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// A way to a server that can be shut and opened again.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    is_open: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Door {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let door = Self {
            address: listener.local_addr().expect("an address"),
            is_open: Arc::new(AtomicBool::new(true)),
            open: Arc::default(),
        };
        let (is_open, open) = (door.is_open.clone(), door.open.clone());
        // Ends with the tests' process; it holds nothing but the listener.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                let both = [client, server];
                let mut kept = open.lock().expect("no panic");
                kept.extend(both.iter().map(|side| side.try_clone().expect("a handle")));
                let [client, server] = both;
                carry(&client, &server);
                carry(&server, &client);
            }
        });
        door
    }

    pub(crate) fn shut(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        for stream in self.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

fn carry(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (
        from.try_clone().expect("a handle"),
        to.try_clone().expect("a handle"),
    );
    std::thread::spawn(move || {
        let mut bytes = [0; 8 << 10];
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
