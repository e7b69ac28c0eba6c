"use strict";

const assert = require("node:assert/strict");
const { call, fence, next, record } = require("../harness");

/** A second namespace on the connection of `socket`. */
async function joinNamespace(t, socket, namespace, auth) {
  const other = t.own(socket.io.socket(namespace, { auth }));
  const connected = next(other, "connect");
  other.connect();
  await connected;
  return other;
}

module.exports = () => ({
  "an unknown namespace is refused": async (t) => {
    const socket = t.client({}, "/nowhere");
    const refused = next(socket, "connect_error");
    socket.connect();
    const [error] = await refused;
    assert.equal(error.message, "Invalid namespace");
    assert.equal(error.data, undefined);
  },

  "namespaces share one connection and nothing else": async (t) => {
    const main = await t.connect();
    const chat = await joinNamespace(t, main, "/chat");
    assert.equal(main.io, chat.io);
    assert.notEqual(main.id, chat.id);
    const strays = record(main, "published");
    const published = next(chat, "published");
    assert.deepEqual(await call(chat, "echo", 1, "é"), ["chat", "/chat", 1, "é"]);
    assert.deepEqual(await call(main, "echo", 1, "é"), [1, "é"]);
    await call(chat, "publish", { to: "chat" });
    assert.deepEqual(await published, [{ to: "chat" }]);
    await fence(main);
    assert.deepEqual(strays, []);
  },

  "leaving one namespace keeps the others": async (t) => {
    const main = await t.settled();
    const chat = await joinNamespace(t, main, "/chat");
    chat.disconnect();
    assert.deepEqual(await call(main, "echo", "still here"), ["still here"]);
    const again = await joinNamespace(t, main, "/chat");
    const kicked = next(again, "disconnect");
    again.emit("kick", false);
    assert.deepEqual((await kicked)[0], "io server disconnect");
    assert.deepEqual(await call(main, "echo", "still here"), ["still here"]);
  },

  "disconnect(close) ends every namespace of the connection": async (t) => {
    const main = await t.settled();
    const chat = await joinNamespace(t, main, "/chat");
    const gone = [next(main, "disconnect"), next(chat, "disconnect"), next(main.io, "close")];
    chat.emit("kick", true);
    const reasons = (await Promise.all(gone)).map(([reason]) => reason);
    assert.deepEqual(reasons.slice(0, 2), ["io server disconnect", "io server disconnect"]);
  },

  "a middleware refuses with data, or prepares the socket": async (t) => {
    const stranger = t.client({}, "/members");
    const refused = next(stranger, "connect_error");
    stranger.connect();
    const [error] = await refused;
    assert.deepEqual([error.message, error.data], ["members only", { code: 403 }]);
    const member = await t.connect({ auth: { name: "ada" } }, "/members");
    assert.deepEqual(await call(member, "who am i"), ["Ada"]);
  },

  "a refusal leaves the other namespaces of the connection alone": async (t) => {
    const main = await t.connect();
    const stranger = t.own(main.io.socket("/members", { auth: {} }));
    const refused = next(stranger, "connect_error");
    stranger.connect();
    await refused;
    const nowhere = t.own(main.io.socket("/nowhere"));
    const unknown = next(nowhere, "connect_error");
    nowhere.connect();
    await unknown;
    assert.deepEqual(await call(main, "echo", 1), [1]);
  },
});
