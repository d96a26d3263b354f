"""Finding what must stay whole in a picture."""
