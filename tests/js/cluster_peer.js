// A Socket.IO server of Node (peer.js) in a cluster whose bus is stdin and stdout: one message of the cluster a line.
"use strict";
const { Server } = require("socket.io");
const { ClusterAdapterWithHeartbeat } = require("socket.io-adapter");
const { createServer, say, serve } = require("./peer.js");

class PipeAdapter extends ClusterAdapterWithHeartbeat {
  constructor(nsp) {
    super(nsp, { heartbeatInterval: 200, heartbeatTimeout: 5000 });
    adapters.push(this);
  }
  doPublish(message) {
    say(message);
    return Promise.resolve("");
  }
  doPublishResponse(requester, message) {
    return this.doPublish(message);
  }
}

const adapters = [];
const http = createServer();
serve(http, new Server(http, { adapter: PipeAdapter }), {}, (message) => adapters.forEach((adapter) => adapter.onMessage(message)));
