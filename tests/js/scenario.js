// Drives every feature of a server with the unmodified JavaScript client: node scenario.js URL MODE [NAME-PART]
// Prints one JSON line: {mode, checks: [{name, ok, detail, ms}]}; the exit status is 1 when a check failed.
"use strict";

const { Harness } = require("./harness");

const SUITES = ["connecting", "transports", "namespaces", "messages", "acks", "binary", "rooms", "leaving", "load"];
const CHECK_TIMEOUT = 20000; // ms
const BUDGET = 90000; // ms; a server that is broken all over must not use up the check time of every check

async function main(url, mode, part = "") {
  const harness = new Harness(url, mode);
  const results = [];
  const end = Date.now() + BUDGET;
  for (const suite of SUITES) {
    for (const [name, check] of Object.entries(require(`./checks/${suite}`)(mode))) {
      const title = `${suite}: ${name}`;
      if (!title.includes(part)) continue;
      results.push(Date.now() < end ? await run(harness, title, check) : failed(title, "no time was left for it"));
    }
  }
  console.log(JSON.stringify({ mode, checks: results }));
  process.exit(results.every((result) => result.ok) ? 0 : 1);
}

const failed = (name, detail) => ({ name, ok: false, detail, ms: 0 });

async function run(harness, name, check) {
  const started = Date.now();
  let detail = "";
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the check did not finish")), CHECK_TIMEOUT);
  });
  try {
    await Promise.race([check(harness), timeout]);
  } catch (error) {
    detail = error.stack;
  }
  clearTimeout(timer);
  harness.dispose();
  return { name, ok: detail === "", detail, ms: Date.now() - started };
}

process.on("unhandledRejection", () => {}); // what a check waits for may fail after the check itself has failed
main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(2);
});
