"""The whole path on data that comes with intsim: a small residual network reads handwritten digits."""
