"use strict";

const assert = require("node:assert/strict");
const { call, next } = require("../harness");

module.exports = () => ({
  "what a handler returns is the ack": async (t) => {
    const socket = await t.connect();
    assert.deepEqual(await call(socket, "ack none"), []);
    assert.deepEqual(await call(socket, "ack list"), [["one", "argument"]]);
    assert.deepEqual(await call(socket, "ack tuple"), ["a", 2, { three: [3, null] }]);
    assert.equal(await socket.emitWithAck("ack tuple"), "a");
  },

  "acks find their callers": async (t) => {
    const socket = await t.connect();
    const numbers = Array.from({ length: 50 }, (_, number) => number);
    const answers = await Promise.all(numbers.map((number) => call(socket, "echo", number)));
    assert.deepEqual(answers.flat(), numbers);
  },

  "an event that nobody handles is not acked": async (t) => {
    const socket = await t.connect();
    await assert.rejects(socket.timeout(200).emitWithAck("nobody listens"), /operation has timed out/);
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  "the server waits for an ack inside a handler": async (t) => {
    const socket = await t.connect();
    socket.on("question", (question, answer) => answer({ question, ok: "😀" }));
    assert.deepEqual(await call(socket, "ask", 42), [{ question: 42, ok: "😀" }]);
  },

  "an ack of the client may have several arguments, or none": async (t) => {
    const socket = await t.connect();
    socket.on("question", (args, answer) => answer(...args));
    assert.deepEqual(await call(socket, "ask", ["a", 2]), ["a", 2]);
    assert.deepEqual(await call(socket, "ask", []), []);
  },

  "an ack of the client may be late and concurrent": async (t) => {
    const socket = await t.connect();
    socket.on("question", (question, answer) => setTimeout(answer, 100 - question, question));
    const answers = await Promise.all([0, 50, 90].map((question) => call(socket, "ask", question)));
    assert.deepEqual(answers.flat(), [0, 50, 90]);
  },

  "the server passes an ack to a callback": async (t) => {
    const socket = await t.connect();
    socket.on("question", (question, answer) => answer(question, "and", Buffer.from("binary")));
    const answered = next(socket, "answered");
    socket.emit("ask with callback", "really?");
    assert.deepEqual(await answered, ["really?", "and", Buffer.from("binary")]);
  },

  "the server gives up when no ack comes": async (t) => {
    const socket = await t.connect();
    assert.deepEqual(await call(socket, "ask in vain"), ["timeout"]);
    const gaveUp = next(socket, "gave up");
    socket.emit("ask in vain with callback");
    assert.deepEqual(await gaveUp, [true]);
  },

  "an ack that comes twice or too late is ignored": async (t) => {
    const socket = await t.connect();
    const late = next(socket, "silence");
    assert.deepEqual(await call(socket, "ask in vain"), ["timeout"]);
    const [answer] = await late;
    answer("too late");
    socket.io.engine.write('3999["nobody asked"]');
    assert.deepEqual(await call(socket, "echo", 1), [1]);
  },

  "the server collects the acks of a room": async (t) => {
    const room = `voters ${Math.random()}`;
    const voters = await t.crowd(3);
    for (const [number, voter] of voters.entries()) {
      await call(voter, "join", room);
      voter.on("vote", (question, answer) => answer(`${question} ${number}`));
    }
    const [votes] = await call(voters[0], "vote", room, "tea?");
    assert.deepEqual(votes.sort(), ["tea? 0", "tea? 1", "tea? 2"]);
    assert.deepEqual(await call(voters[0], "vote", "empty room", "tea?"), [[]]);
  },
});
