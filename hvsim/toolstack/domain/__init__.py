"""The life of a domain: create, build, destroy, restart, take over."""
