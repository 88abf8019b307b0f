"""What each XS_ request does."""
