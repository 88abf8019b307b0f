"""What every client of the store shares: requests as values, framing, and the clients."""
