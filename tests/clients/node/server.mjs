// Sends calls with the official server library, @segment/analytics-node, as a program of its user would.
//
// Usage: node server.mjs <calls.json> <base url> <write key>
//
// The file holds a list of calls: {"type": "track", "userId": …, "event": …, "timestamp": "…"}, in the library's own words.
// Exits with 1 when the library reports that a call was not delivered.

import { readFileSync } from "node:fs";
import { Analytics } from "@segment/analytics-node";

const [, , file, host, writeKey] = process.argv;
const calls = JSON.parse(readFileSync(file, "utf8"));

const analytics = new Analytics({ writeKey, host, flushAt: 20, flushInterval: 200 });
const failures = [];
analytics.on("error", (error) => failures.push(error));

for (const { type, timestamp, ...call } of calls) {
  analytics[type]({ ...call, ...(timestamp ? { timestamp: new Date(timestamp) } : {}) });
}
await analytics.closeAndFlush({ timeout: 60_000 });

if (failures.length > 0) {
  console.error(`${failures.length} calls were not delivered; the first one:`, failures[0]);
  process.exit(1);
}
console.log(calls.length);
