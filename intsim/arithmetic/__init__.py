"""The specification: what every integer operation means, in plain NumPy. Backends equal it bit for bit."""
