"""Programs for guests: an idle one, a verifying load, a database; docs/guest-programs.md."""
