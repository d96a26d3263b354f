"""What must stay whole in a picture: objects on a ground, or else its most salient parts."""
