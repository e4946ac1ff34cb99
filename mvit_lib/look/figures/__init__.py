"""The static pictures of the notebooks, one file per notebook.

Every function `fig_x(...)` returns (Figure, data); `data` is what the picture shows, for tests.
"""
