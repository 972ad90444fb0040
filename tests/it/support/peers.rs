//! Published servers and clients, pinned in `tests/peers/` and installed there on first use by `tests/run`.
