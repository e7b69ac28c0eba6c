// Runs a scenario's checks one after the other, with patience for machines that are slow or stand still.
"use strict";

const CHECK_TIMEOUT = 30000; // ms
const BUDGET = 90000; // ms; a server that is broken all over must not use up the check time of every check
const PIECES = 8;
const TOLD_OF = ["connect_error", "connect_timeout", "error", "disconnect"];

/** Call back when others had so much time in which they could be heard: that this process stands still costs a piece.
 *  Behind a stall timers fire before what has come is read. What is returned stops it.
 */
function expireAfter(milliseconds, callback) {
  let left = PIECES;
  let timer;
  const go = () => {
    timer = left-- > 0 ? setTimeout(go, milliseconds / PIECES) : undefined;
    if (!timer) callback();
  };
  go();
  return () => clearTimeout(timer);
}

const told = [];

/** Have a failure of the present check say what became of the client's connection. */
function overhear(socket) {
  for (const event of TOLD_OF) socket.on(event, (what) => told.push(`${event}: ${(what && what.message) || what}`));
}

/** Run `checks`, pairs of a name and a function, and print one JSON line: {mode, checks: [{name, ok, detail, ms}]}.
 *  The exit status is 1 when a check failed.
 */
async function runChecks(mode, checks, release) {
  process.on("unhandledRejection", () => {}); // what a check waits for may fail after the check itself has failed
  const results = [];
  const end = Date.now() + BUDGET;
  for (const [name, check] of checks) {
    const late = { name, ok: false, detail: "no time was left for it", ms: 0 };
    results.push(Date.now() < end ? await run(name, check, release) : late);
  }
  console.log(JSON.stringify({ mode, checks: results }));
  process.exit(results.every((result) => result.ok) ? 0 : 1);
}

async function run(name, check, release) {
  const started = Date.now();
  let detail = "";
  let stop;
  const late = new Promise((_, reject) => {
    stop = expireAfter(CHECK_TIMEOUT, () => reject(new Error("the check did not finish")));
  });
  told.length = 0;
  try {
    await Promise.race([check(), late]);
  } catch (error) {
    detail = [error.stack, ...told].join("\n");
  }
  stop();
  release();
  return { name, ok: detail === "", detail, ms: Date.now() - started };
}

module.exports = { expireAfter, overhear, runChecks };
