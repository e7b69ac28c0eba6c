// A Socket.IO server of Node in a cluster whose bus is stdin and stdout: one JSON value a line, a message of the cluster
// or a command ({"do": name, "args": [...]}, answered with {"result": value}). It has one client, over the loopback.
"use strict";
const { createServer } = require("http");
const readline = require("readline");
const { Server } = require("socket.io");
const { io: connect } = require("socket.io-client");
const { ClusterAdapterWithHeartbeat } = require("socket.io-adapter");

const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");

class PipeAdapter extends ClusterAdapterWithHeartbeat {
  constructor(nsp) {
    super(nsp, { heartbeatInterval: 200, heartbeatTimeout: 5000 });
    adapters.push(this);
  }
  doPublish(message) {
    say(message);
    return Promise.resolve("");
  }
  doPublishResponse(requester, message) {
    return this.doPublish(message);
  }
}

const adapters = [];
const seen = [];
const http = createServer();
const io = new Server(http, { adapter: PipeAdapter });

io.on("connection", (socket) => {
  socket.data = { name: "node" };
  socket.join("nodes");
});
io.on("double", (value, answer) => answer(value * 2));

const commands = {
  emit: (...args) => io.emit(...args),
  ask: (...args) => io.timeout(3000).emitWithAck(...args),
  fetch: async () => (await io.fetchSockets()).map(({ id, rooms, data, handshake }) => ({ id, rooms: [...rooms], data, handshake })),
  serverSide: (...args) => io.serverSideEmitWithAck(...args),
  join: (id, room) => io.in(id).socketsJoin(room),
  rooms: () => [...io.sockets.sockets.values()].map((socket) => [...socket.rooms]),
  remote: async (id, ...args) => (await io.in(id).fetchSockets())[0].timeout(3000).emitWithAck(...args),
  disconnect: (id) => io.in(id).disconnectSockets(),
  count: () => io.of("/").adapter.serverCount(),
  seen: () => seen,
  close: () => io.of("/").adapter.close(),
};

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const message = JSON.parse(line);
  if (message.do) {
    const result = await Promise.resolve(commands[message.do](...message.args)).catch((error) => ({ error: String(error) }));
    say({ result: result === undefined ? null : result });
  } else {
    adapters.forEach((adapter) => adapter.onMessage(message));
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
