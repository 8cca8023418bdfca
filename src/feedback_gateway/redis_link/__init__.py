"""The one way to Redis, for whom nobody waits when it falls silent. What is asked is its users' business."""
