"""Files in: photographs, metadata, label formats and splits. One constructor per format."""
