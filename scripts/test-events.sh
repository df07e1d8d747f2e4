#!/bin/sh
# Saves the payloads in events/lambda as shareable test events of the deployed functions, where the Lambda console offers them:
# STACK=name scripts/test-events.sh. Region and credentials are those of the environment.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
stack=${STACK:-harpoon}
"$root/scripts/setup-deploy.sh"

for file in "$root"/events/lambda/*.*.json; do
    event=$(basename "$file" .json)
    function=${event%%.*}
    resource="$(printf '%s' "$function" | cut -c1 | tr '[:lower:]' '[:upper:]')$(printf '%s' "$function" | cut -c2-)Function"
    SAM_CLI_TELEMETRY=0 "$root/.venv-deploy/bin/sam" remote test-event put "$resource" \
        --stack-name "$stack" --name "$(printf '%s' "${event#*.}" | tr '.' '-')" --file "$file" --force
done
