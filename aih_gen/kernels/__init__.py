"""Inner loops over vertices, triangles and pixels, compiled by Numba; arrays in, arrays out.

A file here imports nothing of the project but ``compiled``: what is compiled is kept beside it, under a hash of that
file alone.
"""
