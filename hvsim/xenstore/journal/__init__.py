"""What outlives the store: every change on disk before anybody is told of it."""
