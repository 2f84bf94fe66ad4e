#!/bin/sh
# Installs rec into a folder of its own: install.sh FOLDER serve|train
#
# `serve` has only what `rec serve` imports, without torch; `train` has everything. The images are
# made with it, and so can be a machine without containers.
set -eu

prefix=$1
target=$2
source=$(cd "$(dirname "$0")/.." && pwd)

"${PYTHON:-python3}" -m venv "$prefix"
pip() { "$prefix/bin/python" -m pip --disable-pip-version-check "$@"; }

case $target in
serve)
    pip install --quiet --no-compile --requirement "$source/deploy/requirements-serve.txt"
    pip install --quiet --no-compile --no-deps "$source"
    # Imported once, so that what is compiled lies beside it: a read-only file system keeps nothing.
    "$prefix/bin/python" -c "import retrieval.cli.serve, retrieval.service.http.worker"
    ;;
train)
    # PyPI's torch for Linux brings gigabytes for graphics cards; this index has it without them.
    pip install --quiet --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" \
        "$source[serve]"
    ;;
*)
    echo "what is to be installed, serve or train? there is no '$target'" >&2
    exit 2
    ;;
esac

pip uninstall --quiet --yes setuptools pip
