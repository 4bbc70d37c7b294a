"""Face engines: what can stand in for a face, and the models that they rest on."""
