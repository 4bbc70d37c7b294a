"""Following faces through a clip: flow between frames, association at searches, gaps filled both ways."""
