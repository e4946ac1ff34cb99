"""The checkers, one file per notebook."""
