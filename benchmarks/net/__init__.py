"""The network rows: what is run on both sides, and the references in namespaces of their own."""
