"""The lessons' figures, a module per notebook; each function returns a `lib.lessons.figures.Picture`."""
