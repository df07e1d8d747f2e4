// Sends calls with the official browser library, @segment/analytics-next, from pages of a simulated browser (jsdom).
//
// Usage: node browser.mjs <visits.json> <base url> <write key>
//
// The file holds a list of browsers, each {"anonymousId": …, "calls": [{"type": "page" | "identify" | "track" | "group" | "alias", …}]}.
// Settings come from the server under test, as on a real site: the library asks <base url>/v1/projects/<write key>/settings.
// Exits with 1 when the library reports that a call was not delivered.

import { readFileSync } from "node:fs";
import { JSDOM } from "jsdom";

const [, , file, host, writeKey] = process.argv;
const browsers = JSON.parse(readFileSync(file, "utf8"));

const dom = new JSDOM("<!doctype html><title>Looms</title>", { url: "http://www.northwind-looms.example/", pretendToBeVisual: true });
// What the library looks for in a browser. Node's own fetch stays: jsdom has none.
for (const name of ["window", "document", "navigator", "location", "localStorage", "sessionStorage", "XMLHttpRequest", "Event", "CustomEvent"]) {
  Object.defineProperty(globalThis, name, { value: name === "window" ? dom.window : dom.window[name], configurable: true, writable: true });
}
dom.window.fetch = globalThis.fetch;

const { AnalyticsBrowser } = await import("@segment/analytics-next");

let sent = 0;
const failures = [];
for (const { anonymousId, calls } of browsers) {
  const [analytics] = await AnalyticsBrowser.load({ writeKey, cdnURL: host });
  analytics.on("error", (error) => failures.push(error));
  // Nobody is remembered from the browser before.
  analytics.reset();
  analytics.setAnonymousId(anonymousId);
  for (const { type, userId, groupId, previousId, event, category, name, properties, traits, timestamp } of calls) {
    const options = timestamp ? { timestamp: new Date(timestamp) } : {};
    const context = await {
      page: () => analytics.page(category, name, properties, options),
      track: () => analytics.track(event, properties, options),
      identify: () => analytics.identify(userId, traits, options),
      group: () => analytics.group(groupId, traits, options),
      alias: () => analytics.alias(userId, previousId, options),
    }[type]();
    const failure = context.failedDelivery();
    if (failure) failures.push(failure);
    sent += 1;
  }
}

if (failures.length > 0) {
  console.error(`${failures.length} calls were not delivered; the first one:`, failures[0]);
  process.exit(1);
}
console.log(sent);
process.exit(0);
