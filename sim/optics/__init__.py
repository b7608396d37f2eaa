"""From the specimen to counts: multislice, the contrast transfer function, the conditions of imaging, the camera."""
