#!/bin/sh
# Installs the language server that editors use for YAML into a folder, for TestEditor.
#   workflow/testdata/editor/install.sh DIR && REPRIEVE_YAML_LS=DIR go test ./workflow -run TestEditor
set -eu
exec npm install --prefix "$1" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error yaml-language-server@1.25.0
