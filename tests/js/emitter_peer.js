// A Socket.IO server of Node on a Redis, with one client in "/" and one in "/admin", over the loopback:
// node emitter_peer.js URL classic|streams. Its stdin has a command a line ({"do": name, "args": [...]}), answered on
// stdout with {"result": value}.
"use strict";
const { createServer } = require("http");
const readline = require("readline");
const { createClient } = require("redis");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const plain = (value) =>
  Buffer.isBuffer(value) ? { bytes: [...value] }
  : value instanceof Date ? { time: value.getTime() }
  : Array.isArray(value) ? value.map(plain) : value;

async function main(url, kind) {
  const client = createClient({ url });
  await client.connect();
  let adapter;
  if (kind === "classic") {
    const sub = client.duplicate();
    await sub.connect();
    adapter = require("@socket.io/redis-adapter").createAdapter(client, sub);
  } else {
    adapter = require("@socket.io/redis-streams-adapter").createAdapter(client, { blockTimeInMs: 200 });
  }
  const http = createServer();
  const io = new Server(http, { adapter });
  const seen = { "/": [], "/admin": [] };
  const serverSide = [];
  for (const nsp of ["/", "/admin"]) {
    io.of(nsp).on("connection", (socket) => socket.join("nodes"));
    io.of(nsp).on("greet", (...args) => serverSide.push([nsp, ...args.map(plain)]));
  }
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  const ids = {};
  for (const nsp of ["/", "/admin"]) {
    const socket = connect(`http://127.0.0.1:${http.address().port}${nsp}`, { transports: ["websocket"], reconnection: false });
    socket.onAny((...args) => seen[nsp].push(args.map(plain)));
    socket.on("disconnect", (reason) => seen[nsp].push(["disconnect", reason]));
    await new Promise((resolve) => socket.on("connect", resolve));
    ids[nsp] = socket.id;
  }
  const commands = {
    seen: (nsp) => seen[nsp],
    serverSide: () => serverSide,
    rooms: (nsp) => [...io.of(nsp).sockets.values()].map((socket) => [...socket.rooms]),
    emit: (...args) => io.emit(...args),
  };
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const { do: name, args } = JSON.parse(line);
    const result = commands[name](...args);
    say({ result: result === undefined ? null : result });
  }).on("close", () => process.exit());
  say({ result: ids });
}

main(...process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
