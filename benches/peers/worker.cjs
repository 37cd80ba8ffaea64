// What the workers of `peers.mjs` can do.
module.exports = { noop: (x) => x, echo: (payload) => payload };
