"""What both halves of every device wrote into the store, and which rules that broke."""
