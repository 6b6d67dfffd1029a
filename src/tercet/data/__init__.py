"""Where images come from. Nothing above this layer touches an image file."""
