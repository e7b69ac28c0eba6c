// The last Socket.IO v2 client, unmodified, against tests/apps/main.py: node v2/scenario.js URL MODE
// Prints one JSON line like ../scenario.js.
"use strict";

const assert = require("node:assert/strict");
const v2 = require("socket.io-client");
const v4 = require("../node_modules/socket.io-client");
const { overhear, runChecks } = require("../run_checks");

const TRANSPORTS = { polling: ["polling"], websocket: ["websocket"], upgrade: ["polling", "websocket"] };

const [url, mode] = process.argv.slice(2);
const clients = [];

function connect(namespace = "/", options = {}, library = v2) {
  const fixed = { transports: TRANSPORTS[mode], forceNew: true, reconnection: false, timeout: false };
  const io = library(url + namespace, { ...fixed, ...options });
  clients.push(io);
  overhear(io);
  return io;
}

function next(emitter, event) {
  return new Promise((resolve) => emitter.once(event, (...args) => resolve(args)));
}

async function joined(...args) {
  const socket = connect(...args);
  await next(socket, "connect");
  return socket;
}

async function settled(...args) {
  const socket = await joined(...args);
  const { engine } = socket.io;
  if (mode === "upgrade" && engine.transport.name !== "websocket") await next(engine, "upgrade");
  return socket;
}

const call = (socket, event, ...args) =>
  new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer)));

const checks = {
  "it is in the main namespace at once, with the id it expects": async () => {
    const socket = connect("/", { query: { lang: "de" } });
    const [[welcome]] = await Promise.all([next(socket, "welcome"), next(socket, "connect")]);
    assert.deepEqual(welcome, { id: socket.id, auth: {}, lang: "de" });
    assert.equal(socket.id, socket.io.engine.id);
  },

  "everything JSON has, both ways": async () => {
    const socket = await settled();
    const args = [0, -1.5, 1e21, true, null, "", "€😀\n\u2028\\n", [[]], { a: { b: [1, null] } }];
    assert.deepEqual(await call(socket, "echo", ...args), args);
    const echoed = next(socket, "echoed");
    socket.emit("echo event", ...args);
    assert.deepEqual(await echoed, args);
    assert.deepEqual(await call(socket, "echo"), []);
    assert.equal(socket.io.engine.transport.name, mode === "polling" ? "polling" : "websocket");
  },

  "binary, both ways": async () => {
    const socket = await settled();
    const args = [Buffer.from([7]), { deep: [Buffer.alloc(300, 9), "text"] }, Buffer.alloc(0)];
    const [seen] = await call(socket, "describe", ...args);
    assert.deepEqual(seen, ["binary 1 07", { deep: ["binary 300 09", "text"] }, "binary 0 "]);
    const sent = next(socket, "binary");
    const answer = await call(socket, "send binary");
    const [first, { deep }, text] = await sent;
    assert.deepEqual([...first], [0, 1]);
    assert.deepEqual([[...deep[0]], deep[1].er.byteLength ?? deep[1].er.length, text], [[255, 255, 255], 0, "text"]);
    assert.equal(Buffer.from(answer[0]).toString(), "acked");
    assert.equal(Buffer.from(answer[1].inner).toString(), "also");
  },

  "binary in base64, for a client that says so": async () => {
    const socket = await settled("/", { forceBase64: true });
    assert.deepEqual(await call(socket, "describe", Buffer.from([7, 8])), [["binary 2 07"]]);
    const [answer] = await call(socket, "send binary");
    assert.equal(Buffer.from(answer).toString(), "acked");
  },

  "the server asks": async () => {
    const socket = await settled();
    socket.on("question", (question, answer) => answer(`${question}!`, Buffer.from("x")));
    const [text, bytes] = await call(socket, "ask", "why");
    assert.deepEqual([text, Buffer.from(bytes).toString()], ["why!", "x"]);
  },

  "big messages and many small ones, in order": async () => {
    const socket = await settled();
    const big = "ä€😀".repeat(40000);
    assert.deepEqual(await call(socket, "echo", big), [big]);
    const numbers = [];
    socket.on("number", (number) => numbers.push(number));
    socket.emit("burst", 500);
    for (let number = 0; number < 500; number++) socket.emit("count", number);
    const [counted] = await call(socket, "counted");
    assert.deepEqual(counted, [...Array(500).keys()]);
    assert.deepEqual(numbers, counted);
  },

  "namespaces, with auth from their query": async () => {
    const chat = await settled("/chat");
    assert.equal(chat.id, `/chat#${chat.io.engine.id}`);
    assert.deepEqual(await call(chat, "echo", 1), ["chat", "/chat", 1]);
    const member = await joined("/members?name=andr%C3%A9");
    assert.deepEqual(await call(member, "who am i"), ["André"]);
  },

  "refusals": async () => {
    assert.deepEqual(await next(connect("/members"), "error"), [{ code: 403 }]);
    assert.deepEqual(await next(connect("/nowhere"), "error"), [{ message: "Invalid namespace" }]);
  },

  "leaving a namespace and coming back": async () => {
    const main = await settled();
    const chat = main.io.socket("/chat");
    for (let time = 0; time < 3; time++) {
      if (time > 0) chat.connect();
      await next(chat, "connect");
      assert.deepEqual(await call(chat, "echo", time), ["chat", "/chat", time]);
      chat.disconnect();
    }
    assert.deepEqual(await call(main, "echo", "still here"), ["still here"]);
  },

  "the server disconnects it": async () => {
    const socket = await settled();
    socket.emit("kick", false);
    assert.deepEqual(await next(socket, "disconnect"), ["io server disconnect"]);
  },

  "it comes back when the connection is lost": async () => {
    const socket = await settled("/", { reconnection: true, reconnectionDelay: 50 });
    const before = socket.id;
    socket.emit("drop connection");
    const [reason] = await next(socket, "disconnect");
    assert.match(reason, /transport (close|error)/);
    await next(socket, "connect");
    assert.notEqual(socket.id, before);
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  "its pings are answered and keep it alive": async () => {
    const socket = await settled();
    for (let beat = 0; beat < 3; beat++) await next(socket, "pong");
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  "it shares rooms and broadcasts with a client of today": async () => {
    const room = `mixed ${Math.random()}`;
    const old = await settled();
    const today = await joined("/", {}, v4.io);
    for (const socket of [old, today]) assert.deepEqual(await call(socket, "join", room), [[room]]);
    for (const sender of [old, today]) {
      const both = Promise.all([old, today].map((socket) => next(socket, "published")));
      await call(sender, "publish", "server", [["to", room]], "é", Buffer.from([1, 2]), { deep: Buffer.from([3]) });
      for (const [text, bytes, { deep }] of await both) assert.deepEqual([text, ...bytes, ...deep], ["é", 1, 2, 3]);
    }
    [old, today].forEach((socket, number) => socket.on("vote", (question, answer) => answer(number)));
    const [votes] = await call(today, "vote", room, "?");
    assert.deepEqual(votes.sort(), [0, 1]);
  },
};

function release() {
  for (const socket of clients.splice(0)) {
    socket.io.reconnection(false);
    socket.disconnect();
  }
}

runChecks(mode, Object.entries(checks), release);
