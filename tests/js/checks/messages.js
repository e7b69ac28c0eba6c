"use strict";

const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const { call, fence, next, record } = require("../harness");

const both = async (socket, ...args) => {
  const echoed = next(socket, "echoed");
  socket.emit("echo event", ...args);
  assert.deepEqual(await echoed, args);
  assert.deepEqual(await call(socket, "echo", ...args), args);
};

module.exports = () => ({
  "no arguments, one, several of every JSON type": async (t) => {
    const socket = await t.connect();
    await both(socket);
    await both(socket, "one");
    await both(socket, 0, -1.5, 1e21, true, false, null, "", [], {}, [[1, [2]]], { a: { b: [null] }, "": 1 });
  },

  "text of every plane and every separator": async (t) => {
    const socket = await t.connect();
    await both(socket, "žluťoučký", "日本語", "😀👩‍👩‍👧", "b4dGVzdA==", "2,3[");
    await both(socket, "\u0000\u001e\u2028\u2029\ufffe\ufeff", '"\\/\b\f\n\r\t');
  },

  "200 KB of text": async (t) => {
    const socket = await t.connect();
    await both(socket, "x€".repeat(50000), { list: Array.from({ length: 2000 }, (_, i) => ({ i, name: `n${i}` })) });
  },

  "send and message": async (t) => {
    const socket = await t.connect();
    const message = next(socket, "message");
    socket.send("a", { b: 1 });
    assert.deepEqual(await message, ["a", { b: 1 }]);
  },

  "event names may be anything that is not reserved": async (t) => {
    const socket = await t.connect();
    for (const event of ["nobody listens", "__proto__", "constructor", "toString", "*", "on", "error"]) {
      socket.emit(event, 1);
    }
    assert.deepEqual(await call(socket, "echo", "fine"), ["fine"]);
  },

  "listeners of one socket": async (t) => {
    const [socket, other] = [await t.connect(), await t.connect()];
    assert.deepEqual(await call(socket, "private", "x"), [[socket.id, "x"]]);
    assert.deepEqual(await call(other, "private"), [[other.id]]);
    assert.deepEqual(await call(socket, "private once"), ["first"]);
    await assert.rejects(socket.timeout(200).emitWithAck("private once"), /operation has timed out/);
    assert.deepEqual(await call(other, "private once"), ["first"]);
  },

  "the server cannot emit reserved events": async (t) => {
    const socket = await t.connect();
    const errors = record(socket, "connect_error");
    for (const event of ["connect", "connect_error", "disconnect", "disconnecting"]) {
      assert.notDeepEqual(await call(socket, "emit reserved", event), [""]);
    }
    assert.deepEqual(errors, []);
    assert.equal(socket.connected, true);
  },

  "a client that sends a reserved event, or garbage, is dropped": async (t) => {
    const witness = await t.settled();
    const packets = ['2["connect"]', '2["disconnect","io"]', "2{}", '2["unfinished', "0", "9", '2/chat,["echo"]'];
    for (const packet of packets) {
      const socket = await t.settled();
      const gone = next(socket, "disconnect");
      socket.io.engine.write(packet);
      assert.match((await gone)[0], /^transport (close|error)$/, packet);
    }
    await fence(witness);
  },

  "a message over the limit ends the connection, and only that one": async (t) => {
    const witness = await t.settled();
    const socket = await t.settled();
    const gone = next(socket, "disconnect");
    socket.emit("echo event", "x".repeat(1_000_001));
    assert.match((await gone)[0], /^transport (close|error)$/);
    await fence(witness);
  },

  "volatile events arrive at an idle client, at most once": async (t) => {
    const socket = await t.settled();
    const received = record(socket, "published");
    for (let number = 0; number < 20; number++) {
      await call(socket, "publish", "socket", [["volatile"]], number);
      await sleep(10);
    }
    await fence(socket);
    const numbers = received.flat();
    assert.ok(numbers.length >= 1, "all of them were dropped");
    assert.deepEqual(numbers, [...new Set(numbers)].sort((a, b) => a - b));
  },
});
