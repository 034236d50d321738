"""Where heads come from: the H3DS layout, and the built-in people."""
