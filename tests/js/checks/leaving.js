"use strict";

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { call, fence, next } = require("../harness");

/** A client of a unique name in room "den", and `left`: what the server reports when that client has gone. */
async function watched(t, options = {}) {
  const name = `n${Math.random()}`;
  const watcher = await t.settled();
  await call(watcher, "join", `watching ${name}`);
  const left = next(watcher, "left");
  const socket = await t.settled({ auth: { name }, ...options });
  await call(socket, "join", "den");
  const report = (reason) => [name, reason, ["den"], []];
  return { socket, left, report };
}

/** How many sockets the server still has, waiting up to five seconds for none. */
async function remaining(t) {
  for (let attempt = 0; ; attempt++) {
    const counts = Object.values(await (await fetch(`${t.url}/`)).json());
    const total = counts.reduce((a, b) => a + b);
    if (total === 0 || attempt === 50) return total;
    await sleep(100);
  }
}

module.exports = (mode) => ({
  "the client disconnects": async (t) => {
    const { socket, left, report } = await watched(t);
    const gone = next(socket, "disconnect");
    socket.disconnect();
    assert.equal((await gone)[0], "io client disconnect");
    assert.deepEqual(await left, report("client namespace disconnect"));
  },

  "the client's last events come before its disconnection": async (t) => {
    const { socket, left } = await watched(t);
    const witness = await t.settled();
    await call(witness, "join", "last words");
    const published = next(witness, "published");
    socket.emit("publish", "socket", [["to", "last words"]], "goodbye", () => {});
    socket.disconnect();
    assert.deepEqual(await published, ["goodbye"]);
    await left;
  },

  "the client's connection closes": async (t) => {
    const { socket, left, report } = await watched(t);
    socket.io.engine.close();
    assert.deepEqual(await left, report("transport close"));
  },

  "the server disconnects a socket": async (t) => {
    const { socket, left, report } = await watched(t);
    const gone = next(socket, "disconnect");
    socket.emit("kick", false);
    assert.equal((await gone)[0], "io server disconnect");
    assert.deepEqual(await left, report("server namespace disconnect"));
    assert.equal(socket.active, false);
  },

  "the server disconnects a socket and its connection": async (t) => {
    const { socket, left, report } = await watched(t);
    const gone = [next(socket, "disconnect"), next(socket.io, "close")];
    socket.emit("kick", true);
    assert.equal((await gone[0])[0], "io server disconnect");
    await gone[1];
    assert.deepEqual(await left, report("server namespace disconnect"));
  },

  "the client comes back by itself when the server drops the connection": async (t) => {
    const { socket, left, report } = await watched(t, { reconnection: true, reconnectionDelay: 50 });
    const before = socket.id;
    const [gone, back] = [next(socket, "disconnect"), next(socket, "connect")];
    socket.emit("drop connection");
    assert.equal((await gone)[0], "transport close");
    assert.deepEqual(await left, report("forced close"));
    await back;
    assert.notEqual(socket.id, before);
    assert.deepEqual(await call(socket, "join", []), [[]], "the new socket has no rooms of the old one");
    await fence(socket);
  },

  "a client that was disconnected connects again": async (t) => {
    const socket = await t.connect();
    const before = socket.id;
    for (let round = 0; round < 3; round++) {
      socket.disconnect();
      const back = next(socket, "connect");
      socket.connect();
      await back;
      await fence(socket);
    }
    assert.notEqual(socket.id, before);
  },

  "clients that leave while they connect": async (t) => {
    for (const wait of [0, 1, 2, 5, 10, 20, 50]) {
      const socket = t.client();
      socket.connect();
      await sleep(wait);
      socket.disconnect();
    }
    await fence(await t.connect());
  },

  "no socket of all these clients is left on the server": async (t) => {
    assert.equal(await remaining(t), 0, `mode ${mode}`);
  },
});
