// Drives every feature of a server with the unmodified JavaScript client: node scenario.js URL MODE [NAME-PART]
// Prints one JSON line: {mode, checks: [{name, ok, detail, ms}]}; the exit status is 1 when a check failed.
"use strict";

const { Harness } = require("./harness");
const { runChecks } = require("./run_checks");

const SUITES = ["connecting", "transports", "namespaces", "messages", "acks", "binary", "rooms", "leaving", "load"];

async function main(url, mode, part = "") {
  const harness = new Harness(url, mode);
  const checks = [];
  for (const suite of SUITES) {
    for (const [name, check] of Object.entries(require(`./checks/${suite}`)(mode))) {
      const title = `${suite}: ${name}`;
      if (title.includes(part)) checks.push([title, () => check(harness)]);
    }
  }
  await runChecks(mode, checks, () => harness.dispose());
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(2);
});
