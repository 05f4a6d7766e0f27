#!/bin/sh
# make-venv.sh VENV [PYTHON]: make a virtual environment with this project and with the build of
# MXNet that fits this machine.
set -eu
venv=$1

fits() { "$1" -c 'import sys; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null; }

python=${2:-}
if [ -n "$python" ]; then
    fits "$python" || { echo "PYTHON=$python is not a Python 3.8-3.11; MXNet 1.9.1 needs one, so name another interpreter" >&2; exit 2; }
else
    for candidate in python3.11 python3.10 python3.9 python3.8 python3 python; do
        if fits "$candidate"; then python=$candidate; break; fi
    done
    [ -n "$python" ] || { echo "MXNet 1.9.1 needs a Python 3.8-3.11 and none is on the PATH; install one, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
fi

# The CUDA build of MXNet runs on GPUs of compute capability 5.0 to 8.9. It has no code for later
# GPUs, so a machine with a later GPU gets the CPU build.
extra=cpu
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -V | tail -n 1) || capability=
case $capability in
    [5-8].[0-9]*) extra=cu112 ;;
esac

echo "making $venv with $("$python" --version) and the extra [$extra]; this takes a minute or two"
rm -rf "$venv"
"$python" -m venv "$venv" || { echo "$python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 2; }
# A current pip installs the packages several times faster than the pip that venv brings.
# --no-compile saves time as well: most modules are never imported, and Python compiles a module
# when it is first imported.
install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"; }
install --upgrade pip
install --no-compile --editable ".[$extra,test]"
echo "$python" >"$venv/made-with"
