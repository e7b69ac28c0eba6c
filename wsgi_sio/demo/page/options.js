// How the client connects: as it does by itself, unless the server has more to offer, and writes this file anew.

export const options = {};
