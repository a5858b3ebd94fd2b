//! A private Postgres for the tests: a fresh cluster in a temporary folder, on a free port of this
//! machine's loopback, gone when this program is.
//!
//! A shell watches over the server and removes the folder. It ends when its standard input does, so
//! the server also stops when this program is killed. No server of the machine is touched, and none
//! is reachable from elsewhere.
//!
//! The server speaks TLS, with a certificate for `localhost` by an authority that is made for it; tests
//! find both, and another authority, beside the file that its setting `ssl_ca_file` names. Members of a
//! role `tls_only` are let in under TLS alone.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::step::Step;

/// Where tests find the server. One that needs it and finds none fails.
pub(crate) const VARIABLE: &str = "KODEX_TEST_POSTGRES";

const ASK: Duration = Duration::from_secs(60);
/// From nothing to a server that answers; a second on an idle machine.
const START: Duration = Duration::from_secs(120);
/// A fast shutdown waits for nobody but writes everything out.
const STOP: Duration = Duration::from_secs(60);
/// Debian's folder of servers, one folder for each version.
const SERVERS: &str = "/usr/lib/postgresql";
/// The user of Debian's package, because the server refuses to run as root.
const USER: &str = "postgres";

/// Starts the server, says `ready`, and stops it when standard input ends.
const WATCH: &str = r#"
    programs=$1 folder=$2 port=$3
    server=
    leave() {
        if [ -n "$server" ]; then
            kill -INT "$server" 2>/dev/null
            wait "$server"
        fi
        cd /
        rm -rf -- "$folder"
        exit "$1"
    }
    authority() {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 \
            -subj "/CN=$1" -keyout "$1.key" -out "$1.crt"
    }
    certificates() {
        authority ca && authority other \
            && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
                -subj /CN=server -keyout server.key -out server.csr \
            && echo subjectAltName=DNS:localhost >server.ext \
            && openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3 \
                -extfile server.ext -out server.crt
    }
    cd "$folder" || exit 1
    umask 077
    certificates >tls.log 2>&1 || { cat tls.log >&2; leave 1; }
    "$programs/initdb" --pgdata=data --username=postgres --pwfile=password \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync >initdb.log 2>&1 \
        || { cat initdb.log >&2; leave 1; }
    { echo 'hostnossl all +tls_only all reject'; cat data/pg_hba.conf; } >hba && mv hba data/pg_hba.conf
    "$programs/postgres" -D data -p "$port" -k "$folder" \
        -c listen_addresses=127.0.0.1 -c max_connections=200 -c fsync=on \
        -c ssl=on -c ssl_ca_file="$folder/ca.crt" \
        -c ssl_cert_file="$folder/server.crt" -c ssl_key_file="$folder/server.key" \
        -c log_min_messages=fatal >server.log 2>&1 </dev/null &
    server=$!
    until "$programs/pg_isready" --quiet --host=127.0.0.1 --port="$port"; do
        kill -0 "$server" 2>/dev/null || { cat server.log >&2; leave 1; }
        # Between two looks.
        sleep 0.05
    done
    echo ready
    cat >/dev/null
    leave 0
"#;

/// A running server. Dropping it stops it and waits until its folder is gone.
pub(crate) struct Cluster {
    watch: Child,
    url: String,
}

impl Cluster {
    /// Makes and starts one.
    pub(crate) fn start() -> Result<Self> {
        let programs = programs()?;
        let user = user()?;
        let folder = folder(user)?;
        let password = password()?;
        let file = folder.join("password");
        fs::write(&file, &password).context("writing the server's password")?;
        if let Some((uid, gid)) = user {
            chown(&file, Some(uid), Some(gid)).context("handing over the password")?;
        }
        let port = free_port()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCH, "sh"])
            .args([&programs, &folder])
            .arg(port.to_string())
            .env("LC_ALL", "C")
            // An interrupt at the terminal ends this program; the shell sees that and cleans up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        let watch = command.spawn().context("starting a shell for Postgres")?;
        let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
        let mut cluster = Self { watch, url };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The server's address with the password of its superuser.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let stdout = self
            .watch
            .stdout
            .take()
            .context("the shell has an output")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        match receiver.recv_timeout(START) {
            Ok(line) if line == "ready\n" => Ok(()),
            Ok(_) => bail!("Postgres did not start; its words stand above"),
            Err(_) => bail!("Postgres did not start within {START:?}"),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its input is the sign to stop.
        drop(self.watch.stdin.take());
        let pid = self.watch.id();
        let (sender, receiver) = mpsc::channel::<()>();
        let guard = thread::spawn(move || {
            if receiver.recv_timeout(STOP) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("Postgres (below process {pid}) did not stop within {STOP:?}");
            }
        });
        let _ = self.watch.wait();
        drop(sender);
        let _ = guard.join();
    }
}

/// `cargo xtask postgres`: a server for a developer, while a command runs or until Ctrl-C.
pub(crate) fn run(command: &[std::ffi::OsString]) -> Result<ExitCode> {
    let cluster = Cluster::start()?;
    println!("{VARIABLE}={}", cluster.url());
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("running until Ctrl-C");
        loop {
            thread::park();
        }
    };
    let status = Command::new(program)
        .args(arguments)
        .env(VARIABLE, cluster.url())
        .status()
        .with_context(|| format!("{} did not start", program.display()))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The folder of the newest server's programs.
fn programs() -> Result<PathBuf> {
    let installed = fs::read_dir(SERVERS).into_iter().flatten().flatten();
    let debian = installed.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let newest = debian
        .filter(|(_, bin)| bin.join("initdb").exists() && bin.join("postgres").exists())
        .max();
    if let Some((_, bin)) = newest {
        return Ok(bin);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
        .context("no Postgres server is installed; `cargo xtask setup` does that")
}

/// The user and group to run as, where this program runs as root.
fn user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id = |option: &str| -> Result<u32> {
        let text = Step::new("id", ASK).args([option, USER]).stdout()?;
        text.trim()
            .parse()
            .with_context(|| format!("`id {option} {USER}` printed {text:?}"))
    };
    Ok(Some((id("-u")?, id("-g")?)))
}

fn folder(user: Option<(u32, u32)>) -> Result<PathBuf> {
    // Where the other user can reach it; a temporary folder of root's own may stand below `/root`.
    let place = match user {
        Some(_) => PathBuf::from("/tmp"),
        None => std::env::temp_dir(),
    };
    let folder = tempfile::Builder::new()
        .prefix("kodex-postgres-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&place)
        .with_context(|| format!("making a folder in {}", place.display()))?
        // The shell removes it, also when this program is killed.
        .keep();
    if let Some((uid, gid)) = user {
        chown(&folder, Some(uid), Some(gid)).context("handing over the server's folder")?;
    }
    Ok(folder)
}

/// 128 bits as hexadecimal digits, so that it needs no escape in a URL.
fn password() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("reading /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Keeps Debian's package from making and starting a cluster of its own when it is installed.
pub(crate) const NO_CLUSTER: (&str, &str) = (
    "/etc/postgresql-common/createcluster.d/kodex.conf",
    "create_main_cluster = false\n",
);

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_of(pid: u32) -> PathBuf {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let word = words[words.len() - 3];
        PathBuf::from(String::from_utf8(word.to_vec()).unwrap())
    }

    #[test]
    fn a_server_runs_and_leaves_nothing() {
        let cluster = Cluster::start().unwrap();
        let folder = folder_of(cluster.watch.id());
        let answer = Step::new(programs().unwrap().join("psql"), ASK)
            .arg(cluster.url())
            .args(["--no-psqlrc", "-Atc"])
            .arg("SELECT current_setting('fsync'), current_setting('listen_addresses')")
            .stdout()
            .unwrap();
        assert_eq!(answer, "on|127.0.0.1\n");
        assert!(folder.join("data/postmaster.pid").exists());
        drop(cluster);
        assert!(!folder.exists(), "{}", folder.display());
    }

    #[test]
    fn nobody_enters_without_the_password() {
        let cluster = Cluster::start().unwrap();
        let (_, address) = cluster.url().split_once('@').unwrap();
        let output = Step::new(programs().unwrap().join("psql"), ASK)
            .arg(format!("postgres://postgres:wrong@{address}"))
            .args(["--no-psqlrc", "-c", "SELECT 1"])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("password authentication failed"), "{error}");
    }
}
