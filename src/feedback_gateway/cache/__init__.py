"""Where answers are kept for a while, in this process or in Redis. What may be kept is decided by those who ask."""
