// A Socket.IO server of Node (peer.js) on a Redis: node redis_peer.js <adapter> <url> <options as JSON> <more, of the
// server's, as JSON>.
"use strict";
const { Server } = require("socket.io");
const { createClient } = require("redis");
const { createServer, serve } = require("./peer.js");

const ADAPTERS = {
  classic: (pub, sub, options) => require("@socket.io/redis-adapter").createAdapter(pub, sub, options),
  sharded: (pub, sub, options) => require("@socket.io/redis-adapter").createShardedAdapter(pub, sub, options),
  streams: (pub, sub, options) => require("@socket.io/redis-streams-adapter").createAdapter(pub, options),
};

async function main(kind, url, options, more) {
  const pub = createClient({ url });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const http = createServer();
  const adapter = ADAPTERS[kind](pub, sub, JSON.parse(options || "{}"));
  serve(http, new Server(http, { adapter, ...JSON.parse(more || "{}") }), { port: () => http.address().port });
}

main(...process.argv.slice(2));
