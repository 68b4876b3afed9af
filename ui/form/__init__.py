"""Form: the settings of a picture, for any tab."""
