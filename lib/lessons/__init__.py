"""What the notebooks show with; it builds on `lib` itself, and nothing in `lib` itself needs it."""
