"""What tells a right answer to an exercise from a wrong one; tests hold the commonest wrong ones."""
