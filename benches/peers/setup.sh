# Installs what the benches compare Kodex with, by name: `sh setup.sh FOLDER`.
#
# A second run with unchanged lists does nothing. What an interrupted run left is thrown away, because
# half an environment would look like a slow or a missing peer.
set -eu

folder=$1
here=$(cd "$(dirname "$0")" && pwd)
wanted=$(cat "$here/requirements.txt" "$here/package.json")
stamp=$folder/installed

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    echo "peers: nothing to do"
    exit 0
fi

rm -rf "$folder/venv" "$folder/node" "$stamp"
mkdir -p "$folder/node"
echo "peers: Python packages"
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
echo "peers: Node packages"
cp "$here/package.json" "$folder/node/package.json"
(cd "$folder/node" && npm install --silent --no-audit --no-fund --no-package-lock)
printf '%s\n' "$wanted" >"$stamp"
echo "peers: installed"
