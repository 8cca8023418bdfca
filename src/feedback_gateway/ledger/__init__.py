"""Money: what is reserved, what was charged, and what a budget still allows. Knows no calls, providers or HTTP."""
