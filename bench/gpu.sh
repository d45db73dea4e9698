#!/usr/bin/env bash
# Builds the addon, tests it and measures it on a GPU that is at hand for some minutes, without network: the addon against
# the PyTorch of python3, TensorFlow.js's suite and our tests of operators, training and inference beside PyTorch, SVD,
# memory. Writes gpu.json and gpu.md after each part to $OUT, or runs/gpu. Needs g++ and a Python with PyTorch; Bun and the
# packages come from node_modules or, where there is none, from the archive of bench/gpu/bundle.sh. --help lists options.
set -euo pipefail
cd "$(dirname "$0")/.."
bundle=runs/gpu-bundle.tar.xz
if [ ! -d node_modules ] && [ -f "$bundle" ]; then
  # Python's own tar, because xz may be missing
  python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall()' "$bundle"
fi
export PATH="$PWD/node_modules/.bin:$PATH"
exec bun bench/gpu/run.ts "$@"
