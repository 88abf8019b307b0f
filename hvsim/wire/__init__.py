"""What our processes say to each other, below everything that says it."""
