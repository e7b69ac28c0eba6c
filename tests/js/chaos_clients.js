// The clients of npm in a run of tests/chaos, all in this process: node chaos_clients.js PORT
// What tests/chaos/python_clients.py is with ours; the two do the same.
"use strict";

const net = require("net");
const readline = require("readline");
const { io } = require("socket.io-client");

const PERIOD = 100; // milliseconds between two looks at who is going to send
const SIGN = 500;
const ECHO_TIMEOUT = 8000;
const KINDS = ["mail", "gift", "room", "crowd", "everybody"];

const line = net.connect(Number(process.argv[2]), "127.0.0.1");
const report = (...record) => line.write(JSON.stringify(record) + "\n");
const members = new Map();

const pick = (values, weights) => {
  let left = Math.random() * weights.reduce((sum, weight) => sum + weight);
  return values[weights.findIndex((weight) => (left -= weight) < 0)];
};

function fill(number, size, binary) {
  return binary ? Buffer.alloc(size, number % 256) : String.fromCharCode(97 + (number % 26)).repeat(size);
}

function isWhole(payload, number, size) {
  const expected = fill(number, size, typeof payload !== "string");
  return typeof payload === "string" ? payload === expected : expected.equals(payload);
}

// See tests/chaos/sending.py.
class Numbers {
  next = 0;
  offline = null;
  seenOnline = false;

  take(online) {
    const number = this.next++;
    if (online) {
      this.seenOnline = true;
      this.offline = null;
    } else if (this.seenOnline && this.offline === null) {
      this.offline = number;
    }
    return number;
  }

  unsent() {
    const unsent = this.offline ?? this.next;
    this.offline = null;
    this.seenOnline = false;
    return unsent;
  }
}

class Member {
  constructor(plan) {
    this.key = plan.key;
    this.rate = plan.rate;
    this.sending = false;
    this.numbers = new Numbers();
    let connection = 0;
    const socket = (this.socket = io(plan.url, {
      auth: (give) => {
        // Events that came at the very end of a connection, or in front of an answer to CONNECT that never came, are
        // sent again by the recovery; npm's client keeps them as well.
        socket.receiveBuffer = [];
        give({ key: plan.key, room: plan.room, connection: ++connection, unsent: this.numbers.unsent() });
      },
      transports: plan.transports,
      retries: plan.retries ? 1000 : undefined,
      ackTimeout: plan.retries ? 600_000 : undefined, // without one, npm's client takes each answer for an error
      reconnectionDelay: 100,
      reconnectionDelayMax: 1000,
      timeout: 10_000,
      forceNew: true,
      autoConnect: false,
    }));
    const tell = (kind, ...values) => report(kind, this.key, ...values);
    this.tell = tell;
    socket.on("connect", () => tell("connected", socket.recovered, socket.io.engine.transport.name));
    socket.on("disconnect", (reason) => tell("disconnected", reason));
    socket.on("welcome", (first) => tell("welcome", first));
    socket.on("maybe", (number) => tell("got", "maybe", number));
    socket.on("ask", (over, first, number, answer) => {
      tell("asked", over, first, number);
      answer(number);
    });
    for (const kind of KINDS) {
      socket.on(kind, (size, payload, number) => {
        tell("got", kind, number);
        if (!isWhole(payload, number, size)) tell("spoilt", `${kind} ${number}, of ${size} bytes`);
      });
    }
  }

  sendSomething() {
    const mode = pick(["fast", "slow", "ask", pick(["1", "100", "3000"], [1, 1, 1])], [5, 1, 2, 5]);
    this.put(mode, pick([1, 20, 300, 20_000], [5, 5, 5, 1]), Math.random() < 0.5);
  }

  put(mode, size, callback) {
    const number = this.numbers.take(this.socket.connected);
    const args = [mode, size, fill(number, size, Math.random() < 0.2), number];
    if (callback) args.push((error, answer) => error || this.tell("acknowledged", answer));
    (callback ? this.socket.timeout(600_000) : this.socket).emit("put", ...args);
  }

  settle() {
    const number = this.numbers.take(this.socket.connected);
    this.socket.timeout(ECHO_TIMEOUT).emit("put", "fast", 1, fill(number, 1, false), number, (error, answer) => {
      if (error) return this.settle();
      this.tell("acknowledged", answer);
      this.socket.timeout(ECHO_TIMEOUT).emit("fence", (error, last) => {
        if (error) return this.settle();
        this.tell("settled", this.numbers.next, last);
      });
    });
  }
}

const orders = {
  enter: (plan) => members.set(plan.key, new Member(plan)),
  forget: (key) => {
    members.get(key).socket.disconnect();
    members.delete(key);
  },
  come: (key) => members.get(key).socket.connect(),
  leave: (key) => members.get(key).socket.disconnect(),
  send: (wanted) => members.forEach((member) => (member.sending = wanted)),
  burst: (key, count, mode, size) => {
    for (let number = 0; number < count; number++) members.get(key).put(mode, size, false);
  },
  settle: (key) => members.get(key).settle(),
};

report("hello", "node");
setInterval(() => report("alive", ""), SIGN);
setInterval(() => {
  for (const member of members.values()) {
    if (member.sending && Math.random() < (PERIOD / 1000) * member.rate) member.sendSomething();
  }
}, PERIOD);
readline.createInterface({ input: line }).on("line", (text) => {
  const [order, ...values] = JSON.parse(text);
  orders[order](...values);
});
line.on("close", () => process.exit(0));
