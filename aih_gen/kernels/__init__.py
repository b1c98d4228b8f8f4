"""Inner loops over vertices, triangles and pixels, compiled by Numba; arrays in, arrays out.

A file here imports nothing of the project but ``compiled``: what is compiled is kept on disk, and compiled again when
that file changes, not when another one does.
"""
