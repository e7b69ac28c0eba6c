// A WebTransport whose one bidirectional stream is a TCP connection: everything above QUIC, where there is no QUIC.
// node -r ./fake_webtransport.js ...; the port is that of tests/apps/webtransport_tcp.py, in WEBTRANSPORT_TCP_PORT.
"use strict";

const net = require("node:net");
const { Duplex } = require("node:stream");

globalThis.WebTransport = class WebTransport {
  constructor() {
    this.closed = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.closed.catch(() => {});
    this.ready = new Promise((resolve, reject) => {
      this.sock = net.connect(Number(process.env.WEBTRANSPORT_TCP_PORT), "127.0.0.1", resolve);
      this.sock.setNoDelay();
      this.sock.on("error", (error) => { reject(error); this.reject(error); });
      this.sock.on("close", () => this.resolve({ closeCode: 0, reason: "" }));
    });
    this.ready.catch(() => {});
  }

  async createBidirectionalStream() {
    await this.ready;
    return Duplex.toWeb(this.sock);
  }

  close() {
    this.sock.destroy();
  }
};
