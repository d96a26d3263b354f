"""A second shot of the scene: another framing and another light, in which every pixel is the source's."""
