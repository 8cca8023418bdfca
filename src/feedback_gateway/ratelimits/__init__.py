"""How many requests and tokens a minute a consumer may send, and a deployment may be sent."""
