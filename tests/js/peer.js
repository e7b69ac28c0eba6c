// What a Socket.IO server of Node does in a cluster with ours, by commands: one JSON value a line on stdin,
// {"do": name, "args": [...]}, answered on stdout with {"result": value}. It has one client, over the loopback, whose id
// is the first result. Bytes are {"$bytes": base64} there.
"use strict";
const { createServer } = require("http");
const readline = require("readline");
const { io: connect } = require("socket.io-client");

const write = (value) =>
  JSON.stringify(value, function (key, item) {
    const raw = this[key]; // Buffers have been through their toJSON by now
    return Buffer.isBuffer(raw) ? { $bytes: raw.toString("base64") } : item;
  });
const say = (value) => process.stdout.write(write(value) + "\n");
const read = (line) => JSON.parse(line, (key, value) => (value && value.$bytes !== undefined ? Buffer.from(value.$bytes, "base64") : value));
const describe = ({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake });

// `others` are more commands; `onMessage` gets the lines that are none.
function serve(http, io, others = {}, onMessage = () => {}) {
  const seen = [];
  const between = [];
  io.on("connection", (socket) => {
    socket.data = { name: "node" };
    socket.join("nodes");
  });
  io.on("double", (value, answer) => answer(value * 2));
  io.on("pid", (answer) => answer(process.pid));
  io.on("note", (...args) => between.push(args));

  const commands = {
    emit: (...args) => void io.emit(...args),
    emitTo: (rooms, except, ...args) => void io.to(rooms).except(except).emit(...args),
    ask: (...args) => io.timeout(3000).emitWithAck(...args),
    fetch: async () => (await io.fetchSockets()).map(describe),
    fetchIn: async (room) => (await io.in(room).fetchSockets()).map(describe),
    note: (...args) => void io.serverSideEmit("note", ...args),
    between: () => between,
    serverSide: (...args) => io.serverSideEmitWithAck(...args),
    join: (id, room) => io.in(id).socketsJoin(room),
    leave: (id, room) => io.in(id).socketsLeave(room),
    rooms: () => [...io.sockets.sockets.values()].map((socket) => [...socket.rooms]),
    remote: async (id, ...args) => (await io.in(id).fetchSockets())[0].timeout(3000).emitWithAck(...args),
    disconnect: (id) => io.in(id).disconnectSockets(),
    count: () => io.of("/").adapter.serverCount(),
    seen: () => seen,
    pid: () => process.pid,
    close: () => io.of("/").adapter.close(),
    ...others,
  };

  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const message = read(line);
    if (message.do) {
      const run = async () => commands[message.do](...message.args);
      const result = await run().catch((error) => ({ error: String(error) }));
      say({ result: result === undefined ? null : result });
    } else {
      onMessage(message);
    }
  }).on("close", () => process.exit());

  http.listen(0, "127.0.0.1", () => {
    const client = connect(`http://127.0.0.1:${http.address().port}`, { transports: ["websocket"] });
    client.onAny((event, ...args) => {
      const answer = typeof args[args.length - 1] === "function" ? args.pop() : () => {};
      seen.push([event, ...args]);
      answer("from node");
    });
    client.on("disconnect", (reason) => seen.push(["disconnect", reason]));
    client.on("connect", () => say({ result: client.id }));
  });
}

module.exports = { createServer, say, serve };
