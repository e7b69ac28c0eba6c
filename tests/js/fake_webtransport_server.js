// Lets Node's server take WebTransport sessions whose one bidirectional stream is a TCP connection, where there is no QUIC.
// node -r ./fake_webtransport_server.js ...; the port is in WEBTRANSPORT_TCP_PORT.
"use strict";

const net = require("node:net");
const { Duplex } = require("node:stream");
const { Server } = require("engine.io");

const { attach } = Server.prototype;
Server.prototype.attach = function (...parameters) {
  net
    .createServer({ noDelay: true }, (sock) => {
      sock.on("error", () => {});
      this.onWebTransportSession({
        ready: Promise.resolve(),
        closed: new Promise((resolve) => sock.on("close", () => resolve({ closeCode: 0, reason: "" }))),
        incomingBidirectionalStreams: new ReadableStream({ start: (streams) => streams.enqueue(Duplex.toWeb(sock)) }),
        close: () => sock.destroySoon(),
      });
    })
    .listen(Number(process.env.WEBTRANSPORT_TCP_PORT), "127.0.0.1");
  return attach.apply(this, parameters);
};
