"use strict";

const assert = require("node:assert/strict");
const { call, record, until } = require("../harness");

const FENCE = "everybody has it all";

/** Four clients: a and b in room A, b and c in room B, d in none; `receivers(...)` publishes and tells who got it. */
async function four(t) {
  const clients = await t.crowd(4);
  const [a, b, c, d] = clients;
  const [A, B] = [`A ${a.id}`, `B ${a.id}`];
  await call(a, "join", A);
  await call(b, "join", [A, B]);
  await call(c, "join", B);
  const inboxes = clients.map((client) => record(client, "published"));
  const receivers = async (by, chain, sender = a) => {
    await call(sender, "publish", by, chain);
    await call(sender, "publish", "server", [], FENCE); // from the same process, so it comes behind, in whichever they are
    await until(() => inboxes.every((inbox) => inbox.some(([first]) => first === FENCE)));
    return inboxes.map((inbox, index) => "abcd"[index].repeat(inbox.splice(0).length - 1)).join("");
  };
  return { a, b, c, d, A, B, receivers };
}

module.exports = () => ({
  "join one room or several, leave": async (t) => {
    const socket = await t.connect();
    assert.deepEqual(await call(socket, "join", "x"), [["x"]]);
    assert.deepEqual(await call(socket, "join", ["y", "z", "x"]), [["x", "y", "z"]]);
    assert.deepEqual(await call(socket, "leave", "y"), [["x", "z"]]);
    assert.deepEqual(await call(socket, "leave", "never joined"), [["x", "z"]]);
  },

  "to reaches the members of a room, once": async (t) => {
    const { A, B, receivers } = await four(t);
    assert.equal(await receivers("server", [["to", A]]), "ab");
    assert.equal(await receivers("server", [["in", B]]), "bc");
    assert.equal(await receivers("server", [["to", A], ["to", B]]), "abc");
    assert.equal(await receivers("server", [["to", [A, B]]]), "abc");
    assert.equal(await receivers("server", [["to", "empty room"]]), "");
  },

  "except leaves members out": async (t) => {
    const { b, A, B, receivers } = await four(t);
    assert.equal(await receivers("server", [["to", A], ["except", B]]), "a");
    assert.equal(await receivers("server", [["to", [A, B]], ["except", b.id]]), "ac");
    assert.equal(await receivers("server", [["except", [A, B]]]), "d");
  },

  "a socket does not reach itself": async (t) => {
    const { A, B, receivers } = await four(t);
    assert.equal(await receivers("socket", [["to", A]]), "b");
    assert.equal(await receivers("socket", [["to", A], ["in", B]]), "bc");
    assert.equal(await receivers("socket", [["broadcast"]]), "bcd");
    assert.equal(await receivers("socket", [["broadcast"], ["except", B]]), "d");
    assert.equal(await receivers("socket", [["except", B]]), "d");
    assert.equal(await receivers("socket", [["compress", false]]), "a");
  },

  "everybody, and one by its id": async (t) => {
    const { c, d, receivers } = await four(t);
    assert.equal(await receivers("server", []), "abcd");
    assert.equal(await receivers("server", [["compress", false]]), "abcd");
    assert.equal(await receivers("server", [["to", [c.id, d.id]]]), "cd");
    assert.equal(await receivers("socket", [["to", d.id]]), "d");
  },

  "everybody of one process": async (t) => {
    const { receivers } = await four(t);
    assert.equal(await receivers("server", [["local"]]), "abcd");
  },

  "a member that left or disconnected gets nothing": async (t) => {
    const { a, b, c, A, B, receivers } = await four(t);
    await call(a, "leave", A);
    assert.equal(await receivers("server", [["to", A]]), "b");
    await call(a, "join", B);
    assert.equal(await receivers("server", [["to", B]], c), "abc");
    assert.equal(await receivers("socket", [["to", B]], b), "ac");
  },
});
