"""What our processes say to each other, and who is at the other end; below everybody who says it."""
