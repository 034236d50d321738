#!/usr/bin/env bash
# The notebooks as on Colab: an environment with its numpy, pandas and torch and nothing of ours, and each notebook run from its first
# cell, which installs us, with its defaults, from the folder in which it lies.
#   tests/colab.sh FOLDER [NUMBER...]    those whose names begin with these numbers; default all, which takes an hour
set -euo pipefail
folder=$(realpath -m "$1") root=$(realpath "$(dirname "$0")/..")
shift
versions='import numpy, pandas, torch; print("numpy", numpy.__version__, "pandas", pandas.__version__, "torch", torch.__version__)'

mkdir -p "$folder"
test -x "$folder/venv/bin/python" || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.0.2 pandas==2.2.2 torch==2.13.0 ipykernel nbclient
"$folder/venv/bin/pip" uninstall --quiet --yes heads 2>/dev/null # what an earlier call left: the first cell installs the present one
before=$("$folder/venv/bin/python" -c "$versions")
echo "before: $before"
rm -rf "$folder/heads"
git clone --quiet "$root" "$folder/heads"
cd "$folder/heads/notebooks"
[ $# -gt 0 ] || set -- 0 1
for number in "$@"; do
    for notebook in "$number"*.ipynb; do
        began=$SECONDS
        PATH=$folder/venv/bin:$PATH "$folder/venv/bin/jupyter-execute" --kernel_name=python3 "$notebook"
        echo "$notebook: $((SECONDS - began)) s"
    done
done
after=$("$folder/venv/bin/python" -c "$versions")
echo "after:  $after"
[ "$before" = "$after" ]
