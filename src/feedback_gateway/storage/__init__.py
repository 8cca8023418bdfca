"""The database: engine, column types, migrations. Queries live with the feature that asks them."""
