"use strict";

const assert = require("node:assert/strict");
const { call, next, range } = require("../harness");

const bytes = (...values) => Buffer.from(values);

module.exports = () => ({
  "the server receives bytes, at any depth": async (t) => {
    const socket = await t.connect();
    const nested = { a: [bytes(255), { b: Buffer.alloc(0) }], c: 1 };
    const [described] = await call(socket, "describe", bytes(7, 8), nested, "s");
    assert.deepEqual(described, ["binary 2 07", { a: ["binary 1 ff", { b: "binary 0 " }], c: 1 }, "s"]);
  },

  "typed arrays and array buffers are bytes too": async (t) => {
    const socket = await t.connect();
    const array = new Uint8Array([1, 2, 3]);
    const [described] = await call(socket, "describe", array, array.buffer);
    assert.deepEqual(described, ["binary 3 01", "binary 3 01"]);
  },

  "the client receives Buffers, in events and acks": async (t) => {
    const socket = await t.connect();
    const binary = next(socket, "binary");
    const ack = await call(socket, "send binary");
    assert.deepEqual(ack, [Buffer.from("acked"), { inner: Buffer.from("also") }]);
    assert.deepEqual(await binary, [bytes(0, 1), { deep: [bytes(255, 255, 255), { er: Buffer.alloc(0) }] }, "text"]);
  },

  "ten attachments, all byte values": async (t) => {
    const socket = await t.connect();
    const args = range(10).map((number) => Buffer.alloc(number + 1, number));
    args[9] = Buffer.from(range(256));
    const echoed = next(socket, "echoed");
    socket.emit("echo event", ...args);
    assert.deepEqual(await echoed, args);
    assert.deepEqual(await call(socket, "echo", ...args), args);
  },

  "200 KB of bytes": async (t) => {
    const socket = await t.connect();
    const big = Buffer.alloc(200_000, "0123456789abcdef");
    const [back] = await call(socket, "echo", { big });
    assert.ok(back.big.equals(big));
  },

  "binary and text events keep their order": async (t) => {
    const socket = await t.connect();
    const received = [];
    const done = new Promise((resolve) => socket.on("echoed", (value) => received.push(value) === 60 && resolve()));
    const sent = range(60).map((number) => (number % 2 ? Buffer.alloc(2, number) : number));
    for (const value of sent) socket.emit("echo event", value);
    await done;
    assert.deepEqual(received, sent);
  },

  "bytes and acks of the client": async (t) => {
    const socket = await t.connect();
    socket.on("question", (question, answer) => answer(Buffer.concat([question, bytes(33)])));
    assert.deepEqual(await call(socket, "ask", Buffer.from("ok")), [Buffer.from("ok!")]);
  },

  "bytes to a room": async (t) => {
    const [socket, other] = await t.crowd(2);
    const room = `binary ${socket.id}`;
    await call(other, "join", room);
    const published = next(other, "published");
    await call(socket, "publish", "server", [["to", room]], { file: bytes(1, 2) }, bytes(3));
    assert.deepEqual(await published, [{ file: bytes(1, 2) }, bytes(3)]);
  },
});
