#!/bin/sh
# make-venv.sh VENV [PYTHON]: a virtual environment with the project and the MXNet that fits here.
set -eu
venv=$1

fits() { "$1" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; }

python=${2:-}
if [ -n "$python" ]; then
    fits "$python" || { echo "PYTHON=$python is no Python 3.8-3.11, which MXNet 1.9.1 needs" >&2; exit 2; }
else
    for candidate in python3.11 python3.10 python3.9 python3.8 python3 python; do
        if fits "$candidate"; then python=$candidate; break; fi
    done
    [ -n "$python" ] || { echo "MXNet 1.9.1 needs a Python 3.8-3.11 and none is on the PATH; install one or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
fi

# The CUDA build of MXNet runs on compute capabilities 5.0 to 8.9; it has no code for later GPUs.
extra=cpu
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -V | tail -n 1) || capability=
case $capability in
    [5-8].[0-9]*) extra=cu112 ;;
esac

echo "making $venv with $("$python" --version) and the extra [$extra]; this takes a minute or two"
rm -rf "$venv"
"$python" -m venv "$venv" || { echo "this Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 2; }
# A current pip resolves and installs this several times faster than the one venv brings. Most of
# what --no-compile leaves out is never imported; Python compiles the rest when it is.
install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }
install --upgrade pip
install --no-compile --editable ".[$extra,test]"
echo "$python" >"$venv/made-with"
