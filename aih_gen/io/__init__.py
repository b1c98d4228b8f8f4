"""Files: one atomic write, and one door for each kind of input."""
