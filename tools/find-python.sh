#!/bin/sh
# Prints the path of a Python that can make the project's environment: 3.11 or newer, with venv and ensurepip.
# PYTHON=/path/to/python names one; otherwise the versions ansible-core is tested with come before newer ones.
set -u

suits() {
    "$1" -c 'import sys
sys.exit(sys.version_info < (3, 11))' 2>/dev/null && "$1" -c 'import ensurepip, venv' 2>/dev/null
}

if [ -n "${PYTHON:-}" ]; then
    found=$(command -v "$PYTHON" 2>/dev/null) && suits "$found" && { echo "$found"; exit 0; }
    echo "PYTHON=$PYTHON is not a Python 3.11 or newer with the modules venv and ensurepip." >&2
    exit 1
fi

for name in python3.13 python3.12 python3.11 python3 python3.14; do
    # Not only the first on PATH: a shim of a version manager may stand there without a working Python behind it.
    for folder in $(printf '%s' "${PATH:-}" | tr ' :' '? ') /usr/bin /usr/local/bin /opt/homebrew/bin; do
        if [ -x "$folder/$name" ] && suits "$folder/$name"; then
            echo "$folder/$name"
            exit 0
        fi
    done
done

cat >&2 <<'TEXT'
No suitable Python was found: 3.11 or newer with the modules venv and ensurepip is needed.
  Debian, Ubuntu:  apt-get install python3 python3-venv
  RHEL, Fedora:    dnf install python3.12
or name one:       make PYTHON=/path/to/python3.12
TEXT
exit 1
