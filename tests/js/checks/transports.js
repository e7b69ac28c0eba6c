"use strict";

const assert = require("node:assert/strict");
const { Agent } = require("node:http");
const { setImmediate: immediate, setTimeout: sleep } = require("node:timers/promises");
const { call, collect, next, range } = require("../harness");

const staysOnPolling = async (t) => {
  const socket = await t.connect();
  await sleep(300);
  assert.equal(socket.io.engine.transport.name, "polling");
  assert.deepEqual(await call(socket, "echo", 1), [1]);
};

/** Numbered events, both ways, before, during and after an upgrade that begins `delay` ms late. */
const numbersDuringUpgrade = (length, pause, delay) => async (t) => {
  const agent = new LateAgent(delay);
  const socket = await t.connect({ transportOptions: { websocket: { agent } } });
  assert.equal(socket.io.engine.transport.name, "polling");
  const upgrade = t.upgraded(socket);
  agent.release();
  const numbers = collect(socket, "number", length);
  const ticked = next(socket, "ticked");
  socket.emit("tick", length, pause / 1000);
  for (const number of range(length)) {
    socket.emit("count", number);
    await (pause ? sleep(pause) : immediate());
  }
  await upgrade;
  assert.equal(socket.io.engine.transport.name, "websocket");
  assert.deepEqual((await numbers).flat(), range(length));
  await ticked;
  assert.deepEqual(await call(socket, "counted"), [range(length)]);
};

class LateAgent extends Agent {
  constructor(delay) {
    super();
    this.delay = delay;
    this.released = new Promise((resolve) => (this.release = resolve));
  }

  addRequest(...args) {
    this.released.then(() => setTimeout(() => super.addRequest(...args), this.delay));
  }
}

const MODES = {
  polling: {
    "a client that asks for polling stays there": staysOnPolling,
  },

  websocket: {
    "a WebSocket from the beginning": async (t) => {
      const socket = await t.connect();
      assert.equal(socket.io.engine.transport.name, "websocket");
    },
  },

  upgrade: {
    "polling becomes a WebSocket": async (t) => {
      const socket = t.client();
      const names = [];
      socket.io.on("open", () => names.push(socket.io.engine.transport.name));
      socket.connect();
      await next(socket, "connect");
      const id = socket.id;
      await t.upgraded(socket);
      assert.deepEqual(names, ["polling"]);
      assert.equal(socket.io.engine.transport.name, "websocket");
      assert.deepEqual(await call(socket, "echo", "after"), ["after"]);
      assert.equal(socket.id, id);
    },
    "nothing is lost or reordered by it, slow events": numbersDuringUpgrade(100, 3, 100),
    "nothing is lost or reordered by it, fast events": numbersDuringUpgrade(500, 0, 10),
    "nothing is lost or reordered by it, eight clients at once": async (t) => {
      await Promise.all(range(8).map(() => numbersDuringUpgrade(60, 5, 50)(t)));
    },
  },

  webtransport: {
    "a WebTransport from the beginning": async (t) => {
      const socket = await t.connect();
      assert.equal(socket.io.engine.transport.name, "webtransport");
    },
  },

  "upgrade to webtransport": {
    "polling becomes a WebTransport": async (t) => {
      const socket = await t.connect();
      await t.upgraded(socket);
      assert.equal(socket.io.engine.transport.name, "webtransport");
      assert.deepEqual(await call(socket, "echo", "after"), ["after"]);
    },
    "nothing is lost or reordered by it": async (t) => {
      const socket = await t.connect();
      const numbers = collect(socket, "number", 100);
      socket.emit("tick", 100, 0.003);
      for (const number of range(100)) {
        socket.emit("count", number);
        await sleep(3);
      }
      await t.upgraded(socket);
      assert.deepEqual((await numbers).flat(), range(100));
      assert.deepEqual(await call(socket, "counted"), [range(100)]);
    },
  },

  "all three": {
    "WebTransport is preferred to WebSocket": async (t) => {
      const socket = await t.connect();
      await t.upgraded(socket);
      assert.equal(socket.io.engine.transport.name, "webtransport");
      await sleep(300); // the probe of WebSocket comes to nothing
      assert.deepEqual(await call(socket, "echo", 1), [1]);
    },
  },

  fallback: {
    "no upgrade is offered to the default client": async (t) => {
      const socket = t.client();
      const connected = next(socket, "connect");
      socket.connect();
      const [{ upgrades }] = await next(socket.io.engine, "handshake");
      assert.deepEqual(upgrades, []);
      await connected;
    },
    "the default client stays on polling": staysOnPolling,
    "a client that insists on a WebSocket is told so": async (t) => {
      const socket = t.client({ transports: ["websocket"] });
      const failed = next(socket, "connect_error");
      socket.connect();
      const [error] = await failed;
      assert.equal(error.type, "TransportError");
      assert.equal(socket.connected, false);
    },
  },
};

module.exports = (mode) => MODES[mode];
