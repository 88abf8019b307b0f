"""What our processes say to each other and who is at the other end; below all who say it."""
