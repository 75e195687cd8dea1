"""Every failure, in every mode, on every surface: rows of data, and the machinery that runs them."""
