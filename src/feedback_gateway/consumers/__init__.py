"""Who calls: consumers with their scopes, limits and budgets, and the keys that name them."""
