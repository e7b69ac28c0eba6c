// ../scenario.js with the msgpack parser.
"use strict";

const path = require.resolve("socket.io-client");
const client = require(path);
const parser = require("socket.io-msgpack-parser");

require.cache[path].exports = { ...client, io: (url, options) => client.io(url, { ...options, parser }) };
require("../scenario");
