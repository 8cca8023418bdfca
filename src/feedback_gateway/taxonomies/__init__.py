"""How a taxonomy learns: its versions, the categories that models miss, and what people decide about them."""
