"""Integer graphs in forms that other tools read; one file for each form."""
