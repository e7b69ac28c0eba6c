"use strict";

const assert = require("node:assert/strict");
const { call, next } = require("../harness");

module.exports = () => ({
  "the server sees auth and query, and greets after the connection": async (t) => {
    const auth = { token: "right", nested: { list: [1, "ž"] } };
    const socket = t.client({ auth, query: { lang: "cs" } });
    const order = [];
    socket.on("connect", () => order.push("connect"));
    socket.on("welcome", () => order.push("welcome"));
    const welcome = next(socket, "welcome");
    socket.connect();
    assert.deepEqual(await welcome, [{ id: socket.id, auth, lang: "cs" }]);
    assert.deepEqual(order, ["connect", "welcome"]);
    assert.match(socket.id, /^[\w-]{20}$/);
    assert.notEqual(socket.id, socket.io.engine.id);
  },

  "auth may come from a function, and may be missing": async (t) => {
    const computed = t.client({ auth: (answer) => setTimeout(answer, 10, { token: "late" }) });
    const silent = t.client();
    const welcomes = [next(computed, "welcome"), next(silent, "welcome")];
    computed.connect();
    silent.connect();
    const [[first], [second]] = await Promise.all(welcomes);
    assert.deepEqual([first.auth, second.auth], [{ token: "late" }, {}]);
  },

  "a refusal carries message and data, and a second attempt may succeed": async (t) => {
    const socket = t.client({ auth: { token: "wrong" } });
    const refused = next(socket, "connect_error");
    socket.connect();
    const [error] = await refused;
    assert.equal(error.message, "not authorized");
    assert.deepEqual(error.data, { code: 401, hint: "wrong token" });
    assert.equal(socket.connected, false);
    assert.equal(socket.active, false);
    socket.auth = { token: "right" };
    const connected = next(socket, "connect");
    socket.connect();
    await connected;
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  "a handler that returns False refuses": async (t) => {
    const socket = t.client({ auth: { token: "banned" } });
    const refused = next(socket, "connect_error");
    socket.connect();
    const [error] = await refused;
    assert.equal(typeof error.message, "string");
    assert.equal(socket.active, false);
  },

  "events emitted before the connection are delivered after it": async (t) => {
    const socket = t.client();
    const echoed = next(socket, "echoed");
    socket.emit("echo event", "early");
    socket.connect();
    assert.deepEqual(await echoed, ["early"]);
  },

  "the site around it answers other paths": async (t) => {
    const response = await fetch(`${t.url}/`);
    assert.equal(response.status, 200);
    assert.deepEqual(Object.keys(await response.json()), ["/", "/chat", "/members"]);
  },

  "heartbeats keep an idle client": async (t) => {
    const socket = await t.settled();
    const disconnects = [];
    socket.on("disconnect", (reason) => disconnects.push(reason));
    await next(socket.io, "ping");
    await next(socket.io, "ping");
    assert.deepEqual(disconnects, []);
    assert.deepEqual(await call(socket, "echo", "alive"), ["alive"]);
  },
});
