// What a check works with: clients of one transport mode, and ways to wait for what they receive.
"use strict";

const { io } = require("socket.io-client");
const { expireAfter, overhear } = require("./run_checks");

const TRANSPORTS = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
  webtransport: ["webtransport"], // these three with node -r ./fake_webtransport.js
  "upgrade to webtransport": ["polling", "webtransport"],
  "all three": ["polling", "websocket", "webtransport"],
  fallback: ["polling", "websocket"], // for servers that can do polling only
};

const PATIENCE = 20000; // ms; for one thing that comes in milliseconds where the machine is not slow

class Harness {
  constructor(url, mode) {
    if (!(mode in TRANSPORTS)) throw new Error(`unknown mode ${mode}; known: ${Object.keys(TRANSPORTS).join(", ")}`);
    this.url = url;
    this.mode = mode;
    this.clients = [];
  }

  /** A client with a connection of its own that has not been started yet. */
  client(options = {}, namespace = "/") {
    return this.own(
      io(this.url + namespace, {
        transports: TRANSPORTS[this.mode],
        forceNew: true,
        reconnection: false,
        timeout: false, // the check has its own
        autoConnect: false,
        ...options,
      }),
    );
  }

  /** A connected client; in "upgrade" mode the upgrade may still be going on. */
  async connect(options, namespace) {
    const socket = this.client(options, namespace);
    const connected = next(socket, "connect");
    socket.connect();
    await connected;
    return socket;
  }

  /** A connected client whose transport will not change any more. */
  async settled(options, namespace) {
    const socket = await this.connect(options, namespace);
    await this.upgraded(socket);
    return socket;
  }

  /** Several settled clients at once. */
  crowd(size, options) {
    return Promise.all(Array.from({ length: size }, () => this.settled(options)));
  }

  /** The upgrade of the client's connection, in the mode that has one. */
  async upgraded(socket) {
    const { engine } = socket.io;
    const upgrades = TRANSPORTS[this.mode].length > 1 && this.mode !== "fallback";
    if (upgrades && engine.transport.name === "polling") await next(engine, "upgrade");
  }

  /** Have the client disconnected when the check is over. */
  own(socket) {
    this.clients.push(socket);
    overhear(socket);
    return socket;
  }

  dispose() {
    for (const socket of this.clients.splice(0)) {
      socket.io.reconnection(false);
      socket.disconnect();
    }
  }
}

/** The arguments of the next `event`. */
function next(emitter, event, milliseconds = PATIENCE) {
  return collect(emitter, event, 1, milliseconds).then(([args]) => args);
}

/** The arguments of the next `count` `event`s, an array each. */
function collect(emitter, event, count, milliseconds = PATIENCE) {
  return new Promise((resolve, reject) => {
    const received = [];
    const listener = (...args) => received.push(args) === count && finish(resolve, received);
    const giveUp = () => finish(reject, new Error(`${received.length} of ${count} "${event}" came`));
    const stop = expireAfter(milliseconds, giveUp);
    const finish = (settle, value) => {
      stop();
      emitter.off(event, listener);
      settle(value);
    };
    emitter.on(event, listener);
  });
}

/** All arguments of an event from now on, in a live array. */
function record(emitter, event) {
  const received = [];
  emitter.on(event, (...args) => received.push(args));
  return received;
}

/** Emit and return all arguments of the ack, as an array. */
function call(socket, event, ...args) {
  return new Promise((resolve, reject) => {
    socket.timeout(PATIENCE).emit(event, ...args, (error, ...answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Everything the server had emitted to these clients before has arrived: events are delivered in order. */
function fence(...sockets) {
  return Promise.all(sockets.map((socket) => call(socket, "echo", "fence")));
}

/** Wait until something holds that nobody tells of. */
async function until(holds, milliseconds = PATIENCE) {
  const end = Date.now() + milliseconds;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${milliseconds} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const range = (length) => Array.from({ length }, (_, number) => number);

module.exports = { Harness, next, collect, record, call, fence, until, range };
