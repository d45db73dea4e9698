#!/usr/bin/env bash
# Packs Bun and the packages that bench/gpu.sh needs into runs/gpu-bundle.tar.xz, for a machine without network. Left out
# are the packages of charts, WebGPU and checks, and of the others what no program loads.
set -euo pipefail
cd "$(dirname "$0")/../.."
most=$((50 << 20)) # bytes, so that the project fits beside it into 64 MiB

packages() { # a line for each package that the given ones depend on
  node -e '
    const fs = require("fs"), found = new Set();
    const visit = (name) => {
      const file = `node_modules/${name}/package.json`;
      if (found.has(name) || !fs.existsSync(file)) return;
      found.add(name);
      const { dependencies, optionalDependencies } = JSON.parse(fs.readFileSync(file));
      Object.keys({ ...dependencies, ...optionalDependencies }).forEach(visit);
    };
    const left = new Set(process.argv[1].split(" "));
    Object.keys(require("./package.json").dependencies).filter((name) => !left.has(name)).forEach(visit);
    process.argv[2].split(" ").forEach(visit);
    console.log([...found].map((name) => `node_modules/${name}`).join("\n"));
  ' "@expo-google-fonts/inter @resvg/resvg-js @tensorflow/tfjs-backend-webgpu vega vega-lite" "fast-check jasmine-core"
}

mkdir -p runs
{ packages; echo node_modules/.bin/bun; } |
  tar --create --xz --file runs/gpu-bundle.tar.xz --files-from - \
    --exclude='*.map' --exclude='*.min.js' --exclude='*.d.ts' --exclude='*fesm*' --exclude='*es2017*' \
    --exclude='*miniprogram*' --exclude='*.md' \
    --dereference
size=$(stat -c %s runs/gpu-bundle.tar.xz)
echo "runs/gpu-bundle.tar.xz: $((size >> 20)) MiB"
if [ "$size" -gt "$most" ]; then
  echo "the archive is larger than $((most >> 20)) MiB; leave out more packages in bench/gpu/bundle.sh" >&2
  exit 1
fi
