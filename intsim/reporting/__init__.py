"""Pages for people: one self-contained HTML file each, without scripts or anything from the net."""
