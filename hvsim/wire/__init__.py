"""What our processes say to each other: how a message becomes bytes, and who is at the other end."""
