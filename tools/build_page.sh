#!/usr/bin/env bash
# Builds the page of `perse export --format html` out of web/ into src/perse/export/page.html, after types and lint.
# build_page.sh --check only says whether the page in the package is what web/ builds to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --silent
    touch node_modules/.package-lock.json
fi
npm run --silent check
node build.mjs "$@"
