"""The devices of domains: their nodes, halves, scripts, images."""
