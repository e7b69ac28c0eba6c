// A logged-in voter of the polls project: voter.js URL TRANSPORTS COOKIE; prints what it saw as JSON.
"use strict";

const { io } = require("../js/node_modules/socket.io-client");
const { next, call } = require("../js/harness.js");

async function main([url, transports, cookie]) {
  const options = { transports: transports.split(","), extraHeaders: { Cookie: cookie }, reconnection: false };
  const socket = io(url, options);
  const staff = io(`${url}/staff`, options);
  const refused = next(staff, "connect_error");
  await next(socket, "connect");
  if (transports.endsWith("websocket") && socket.io.engine.transport.name !== "websocket") {
    await next(socket.io.engine, "upgrade");
  }
  const results = next(socket, "results");
  const seen = {
    name: await call(socket, "whoami"),
    words: [await call(socket, "remember", "one"), await call(socket, "remember", "two")],
    voted: await call(socket, "vote", "yes"),
    results: await results,
    refused: (await refused).map((error) => [error.message, error.data])[0],
    transport: socket.io.engine.transport.name,
  };
  const closed = next(socket, "closed");
  await fetch(`${url}/close/`);
  seen.closed = await closed;
  socket.disconnect();
  return seen;
}

main(process.argv.slice(2))
  .catch((error) => ({ error: String(error) }))
  .then((seen) => process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit()));
