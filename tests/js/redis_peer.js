// A Socket.IO server of Node (peer.js) on a Redis: node redis_peer.js <adapter> <url> <options as JSON>.
"use strict";
const { Server } = require("socket.io");
const { createClient } = require("redis");
const { createServer, serve } = require("./peer.js");

const ADAPTERS = {
  classic: (pub, sub, options) => require("@socket.io/redis-adapter").createAdapter(pub, sub, options),
};

async function main(kind, url, options) {
  const pub = createClient({ url });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const http = createServer();
  serve(http, new Server(http, { adapter: ADAPTERS[kind](pub, sub, JSON.parse(options || "{}")) }));
}

main(...process.argv.slice(2));
