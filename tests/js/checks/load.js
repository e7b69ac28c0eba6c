"use strict";

const assert = require("node:assert/strict");
const { call, collect, next, range } = require("../harness");

module.exports = () => ({
  "500 events each way arrive in order": async (t) => {
    const socket = await t.connect();
    const numbers = collect(socket, "number", 500);
    socket.emit("burst", 500);
    for (const number of range(500)) socket.emit("count", number);
    assert.deepEqual((await numbers).flat(), range(500));
    assert.deepEqual(await call(socket, "counted"), [range(500)]);
  },

  "a background task emits": async (t) => {
    const socket = await t.connect();
    const numbers = collect(socket, "number", 20);
    const ticked = next(socket, "ticked");
    socket.emit("tick", 20, 0.005);
    assert.deepEqual(await call(socket, "echo", "not blocked"), ["not blocked"]);
    assert.deepEqual((await numbers).flat(), range(20));
    assert.deepEqual(await ticked, []);
  },

  "ten clients at once": async (t) => {
    const clients = await Promise.all(range(10).map(() => t.connect()));
    assert.equal(new Set(clients.map((client) => client.id)).size, 10);
    const announcements = clients.map((client) => next(client, "published"));
    await Promise.all(
      clients.map(async (client, index) => {
        for (const round of range(20)) assert.deepEqual(await call(client, "echo", index, round), [index, round]);
      }),
    );
    await call(clients[0], "publish", "server", [], "to all");
    assert.deepEqual(await Promise.all(announcements), range(10).map(() => ["to all"]));
  },
});
