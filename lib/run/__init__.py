"""What runs, checks and publishes the notebooks; a student need not read it."""
