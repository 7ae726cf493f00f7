"""From options to samples: resolve, prepare, the engine, decoding, metadata."""
