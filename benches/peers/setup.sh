# Installs what the benches compare Kodex with, by name: `sh setup.sh FOLDER`.
#
# There are three parts: packages from PyPI, packages from npm, and a program in Rust. A part that cannot
# be installed is left out and named, and the others go on. A second run with unchanged lists does
# nothing. What an interrupted run left is thrown away, because half an environment would look like a slow
# or a missing peer.
set -u

folder=$1
here=$(cd "$(dirname "$0")" && pwd)
failed=

# part NAME FILE..: runs install_NAME unless it was run with these files.
part() {
    name=$1
    shift
    stamp=$folder/$name.installed
    wanted=$(cat "$@")
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
        return
    fi
    echo "peers: installing the part $name"
    rm -f "$stamp"
    if "install_$name"; then
        printf '%s\n' "$wanted" >"$stamp"
    else
        echo "peers: the part $name could not be installed" >&2
        failed="$failed $name"
    fi
}

install_python() {
    rm -rf "$folder/venv" &&
        python3 -m venv "$folder/venv" &&
        "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --requirement "$here/requirements.txt"
}

install_node() {
    rm -rf "$folder/node" &&
        mkdir -p "$folder/node" &&
        cp "$here/package.json" "$folder/node/package.json" &&
        (cd "$folder/node" && npm install --silent --no-audit --no-fund --no-package-lock)
}

install_rust() {
    rm -f "$folder/refinery" &&
        "${CARGO:-cargo}" build --release --quiet --locked \
            --manifest-path "$here/refinery/Cargo.toml" --target-dir "$folder/target" &&
        cp "$folder/target/release/refinery-peer" "$folder/refinery"
}

mkdir -p "$folder"
part python "$here/requirements.txt"
part node "$here/package.json"
part rust "$here/refinery/Cargo.toml" "$here/refinery/Cargo.lock" "$here/refinery/src/main.rs"
if [ -n "$failed" ]; then
    echo "peers: without$failed"
    exit 1
fi
echo "peers: installed"
