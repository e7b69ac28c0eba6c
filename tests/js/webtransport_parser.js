// npm's engine.io-parser on the streams of a WebTransport: what it reads from pieces, and what it writes.
"use strict";

const { readFileSync } = require("fs");
const { createPacketDecoderStream, createPacketEncoderStream } = require("engine.io-parser");

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));

/** What comes out of `stream` for `chunks`; a promise. */
async function through(stream, chunks) {
  const found = [];
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  const reading = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      found.push(value);
    }
  })();
  for (const chunk of chunks) await writer.write(chunk);
  await writer.close();
  await reading;
  return found;
}

function describe({ type, data }) {
  if (type === "error") return ["error"];
  if (data === undefined || typeof data === "string") return [type, "text", data || ""];
  return [type, "bytes", Buffer.from(data).toString("hex")];
}

/** Up to the first error, behind which the engine has closed. */
function upToAnError(packets) {
  const at = packets.findIndex(([type]) => type === "error");
  return at < 0 ? packets : packets.slice(0, at + 1);
}

function packetOf(payload) {
  if (payload.binary) return { type: "message", data: Buffer.from(payload.binary, "hex") };
  const types = ["open", "close", "ping", "pong", "message", "upgrade", "noop"];
  return { type: types[payload[0]], data: payload.slice(1) || undefined };
}

(async () => {
  const decode = [];
  for (const pieces of job.decode) {
    const stream = createPacketDecoderStream(job.max, "nodebuffer");
    const packets = await through(stream, pieces.map((piece) => Buffer.from(piece, "hex")));
    decode.push(upToAnError(packets.map(describe)));
  }
  const encode = [];
  for (const payload of job.encode) {
    const chunks = await through(createPacketEncoderStream(), [packetOf(payload)]);
    encode.push(Buffer.concat(chunks).toString("hex"));
  }
  // in ASCII: Python takes some other characters for the ends of lines
  const escape = (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0");
  console.log(JSON.stringify({ decode, encode }).replace(/[\u007f-\uffff]/g, escape));
})();
