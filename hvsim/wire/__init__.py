"""What our processes say to each other: a message as bytes, and who is at the other end."""
