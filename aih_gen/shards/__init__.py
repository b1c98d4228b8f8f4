"""Sample <-> HDF5: the only place that opens an HDF5 file."""
